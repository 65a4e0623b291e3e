/** What the rooms between the doors and the engine speak: one chat request in, one stream of events out. */

export type Role = 'system' | 'user' | 'assistant' | 'tool';

/** A call that an assistant made. */
export interface ToolCall {
  id: string;
  name: string;
  /** JSON text, as the model wrote it. */
  arguments: string;
}

export interface ChatMessage {
  role: Role;
  content: string;
  /** What the assistant thought before it wrote `content`. */
  reasoning?: string | undefined;
  /** Of an assistant. */
  toolCalls?: ToolCall[] | undefined;
  /** Of a tool: the call that this is the result of. */
  toolCallId?: string | undefined;
  /** Of a tool: its name, when the client says it. */
  name?: string | undefined;
}

/** A function that the model may call. */
export interface Tool {
  name: string;
  description?: string | undefined;
  /** JSON Schema of the arguments. */
  parameters: JsonObject;
}

/** `required`: at least one call of any tool; an object: a call of this tool. */
export type ToolChoice = 'auto' | 'none' | 'required' | { name: string };

/** What the answer's text must be. */
export type AnswerFormat = { type: 'text' } | { type: 'json' } | { type: 'schema'; schema: JsonObject };

export interface Sampling {
  /** 0 to 2; 0 is greedy. */
  temperature: number;
  /** (0, 1]; 1 keeps every token. */
  topP: number;
  /** 0 keeps every token. */
  topK: number;
  /** 0 to 1, relative to the likeliest token; 0 keeps every token. */
  minP: number;
  /** −2 to 2, once for each token that occurred in the answer. */
  presencePenalty: number;
  /** −2 to 2, for each time a token occurred in the answer. */
  frequencyPenalty: number;
  /** More than 0; 1 changes nothing. */
  repetitionPenalty: number;
  /** Absent: random. */
  seed?: number;
}

/** Always the likeliest token; nothing else changes the choice. */
export const GREEDY: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
};

export interface ChatRequest {
  /** The build id (over the wire) or the name a local client used. */
  model: string;
  messages: ChatMessage[];
  sampling: Sampling;
  /** The answer ends before the first of these. */
  stop: string[];
  /** Bound on output tokens; absent: as many as the context holds. */
  maxTokens?: number;
  tools: Tool[];
  toolChoice: ToolChoice;
  /** Whether one answer may hold several calls. */
  parallelToolCalls: boolean;
  format: AnswerFormat;
  /** What the request sets in the model's template, such as `enable_thinking` or `reasoning_effort`. */
  templateArguments: JsonObject;
  /** How many of the likeliest tokens are told beside each token of the text, 0 to 20; absent: no probabilities. */
  topLogprobs?: number;
  /** Added to the logits of tokens, by id; −100 forbids the token. */
  logitBias: Record<string, number>;
  /** Whether the request comes from this machine's owner; absent: the coordinator did not say. */
  owner?: boolean;
  /** Opaque: requests with the same one may share cached prefixes. Absent: shares with nobody, not even with itself. */
  cacheScope?: string;
}

/** The tools that the model may call. */
export function offeredTools({ tools, toolChoice }: Pick<ChatRequest, 'tools' | 'toolChoice'>): Tool[] {
  return toolChoice === 'none' ? [] : tools;
}

/** A request for text alone, with nothing of all this asked for. */
export const PLAIN = {
  tools: [],
  toolChoice: 'auto',
  parallelToolCalls: true,
  format: { type: 'text' },
  templateArguments: {},
  logitBias: {},
} satisfies Partial<ChatRequest>;

export type FinishReason = 'stop' | 'length' | 'tool_calls';

/** A token's probability, as OpenAI tells it. */
export interface TokenLogprob {
  token: string;
  /** Natural logarithm. */
  logprob: number;
  /** Of the token's text in UTF-8. */
  bytes: number[];
  /** The likeliest tokens at this place, the likeliest first; empty unless asked for. */
  top: { token: string; logprob: number; bytes: number[] }[];
}

export interface Usage {
  promptTokens: number;
  /** Of the prompt, tokens that were in the cache already; absent: not known. */
  cachedTokens?: number;
  completionTokens: number;
  /** Of the completion, tokens that were reasoning; absent: none. */
  reasoningTokens?: number;
}

/** What a model is asked for beside answers: how long a prompt is, and vectors of texts. */
export type OperationName = 'count' | 'embed';

export type OperationResult =
  | { op: 'count'; promptTokens: number }
  /** Of the texts in their order, each of length 1. */
  | { op: 'embed'; promptTokens: number; vectors: Float32Array[] };

/**
 *   accepted ─▶ started ─▶ reasoning*, text*, (tool_call ─▶ tool_arguments*)* ─▶ done | cancelled
 *
 * Calls are numbered from 0; the pieces of a call's arguments come after its beginning and before the next call's.
 * An operation has no content: accepted ─▶ done.
 *
 * Exactly one `done` or `cancelled` (the signal was aborted), or an error thrown by the iterator. Nothing after it.
 */
export type ChatEvent =
  | { type: 'accepted' }
  | { type: 'started'; promptTokens: number; cachedTokens?: number }
  | { type: 'text'; text: string; logprobs?: TokenLogprob[] | undefined }
  | { type: 'reasoning'; text: string }
  | { type: 'tool_call'; index: number; id: string; name: string }
  | { type: 'tool_arguments'; index: number; text: string }
  | {
      type: 'done';
      finishReason: FinishReason;
      stopSequence: string | null;
      usage: Usage;
      /** What an operation came to; absent: it was chat. */
      result?: OperationResult | undefined;
    }
  | { type: 'cancelled'; usage: Usage };

/** An event that the model wrote. */
export type ContentEvent = Extract<ChatEvent, { type: 'text' | 'reasoning' | 'tool_call' | 'tool_arguments' }>;

export function isContent(event: { type: string }): event is ContentEvent {
  return CONTENT.has(event.type);
}
const CONTENT: ReadonlySet<string> = new Set(['text', 'reasoning', 'tool_call', 'tool_arguments']);

/** What an answer needs from whoever runs the model. The engine implements it. */
export interface Generator {
  /** @throws DarkbloomError from the iterator: what was refused or broke. */
  generate(request: ChatRequest, signal: AbortSignal): AsyncIterable<ChatEvent>;
}

/** A JSON object whose keys we have not looked at yet. */
export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
