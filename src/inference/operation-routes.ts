import { DarkbloomError } from '../errors.js';
import { anthropicMessages } from './anthropic.js';
import { embeddingsReply } from './embeddings.js';
import type { Operation, OperationEvent, OperationResult } from './operations.js';
import type { JsonObject } from './types.js';

/** One API's way to ask for an operation. */
export interface OperationRoute {
  op: Operation['op'];
  /** What the machine cannot do that does not know the operation, for people. */
  what: string;
  /** The client's body as the wire carries it.
   *  @throws DarkbloomError `invalid_request` naming the field. */
  lower(body: JsonObject): JsonObject;
  reply(result: OperationResult, model: string, body: JsonObject): JsonObject;
}

/** `/v1/messages/count_tokens` */
export const countTokens: OperationRoute = {
  op: 'count',
  what: 'count tokens',
  lower: (body) => anthropicMessages.lower(body),
  reply: ({ promptTokens }) => ({ input_tokens: promptTokens }),
};

/** `/v1/embeddings` */
export const embeddings: OperationRoute = {
  op: 'embed',
  what: 'make embeddings',
  lower: ({ model, input, dimensions, encoding_format, user }) => ({ model, input, dimensions, encoding_format, user }),
  reply: (result, model, body) => {
    if (result.op !== 'embed') throw new DarkbloomError('provider_error', 'The machine answered another question.');
    return embeddingsReply(result, model, body);
  },
};

/** The result at the end of an operation's events. */
export async function resultOf(events: AsyncIterable<OperationEvent>): Promise<OperationResult> {
  let result: OperationResult | undefined;
  for await (const event of events) if (event.type === 'result') ({ result } = event);
  if (result === undefined) throw new DarkbloomError('internal', 'The operation ended without a result.');
  return result;
}
