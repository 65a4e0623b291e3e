import type { DarkbloomError } from '../errors.js';
import type { ChatEvent, JsonObject, OperationName } from './types.js';

/** What the writer of a reply must know about its request. */
export interface ReplyFacts {
  requestId: string;
  /** Seconds since the Unix epoch. */
  created: number;
  /** The model's name as the client sent it. */
  model: string;
  /** The client asked for a usage chunk at the end of the stream. */
  includeUsage: boolean;
  /** The client's bound on output tokens. */
  maxTokens: number | undefined;
  /** The client's own body, for a dialect whose reply repeats parts of it; it went through `lower`. */
  asked?: JsonObject;
  /** The reply goes to a coordinator, which will write the client's own reply from it. */
  forWire?: true;
}

/** One reply being written, from the events of one answer. Used for a stream or for a whole body, never for both. */
export interface Reply {
  /** The stream's bytes for this event; empty for an event that this dialect does not show. */
  frames(event: ChatEvent): string;
  /** The end of a stream that broke after its first byte. */
  failure(error: DarkbloomError): string;
  /** The whole body; valid once `done` was given to `frames`. */
  body(): JsonObject;
}

/** One API's way to say the same: its request as a chat body, our events as its reply, our errors in its shape. */
export interface Dialect {
  /** The field that holds what the model is to read, where it is not `messages`. */
  promptField?: 'messages' | 'input' | 'prompt';
  /** The dialect that a body on this path is really in, where the path takes two. */
  of?: (body: JsonObject) => Dialect;
  /** @throws DarkbloomError `invalid_request` naming the field. */
  lower(body: JsonObject): JsonObject;
  reply(facts: ReplyFacts): Reply;
  errorBody(error: DarkbloomError, requestId: string): JsonObject;
  /** Asks for this operation, whose body `lower` makes; absent: for chat. */
  op?: OperationName;
}
