/** What the rooms between the doors and the engine speak: one chat request in, one stream of events out. */

export type Role = 'system' | 'user' | 'assistant' | 'tool';

export interface ChatMessage {
  role: Role;
  content: string;
}

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
  /** Whether the request comes from this machine's owner; absent: the coordinator did not say. */
  owner?: boolean;
  /** Opaque: requests with the same one may share cached prefixes. Absent: shares with nobody, not even with itself. */
  cacheScope?: string;
}

export type FinishReason = 'stop' | 'length';

export interface Usage {
  promptTokens: number;
  /** Of the prompt, tokens that were in the cache already; absent: not known. */
  cachedTokens?: number;
  completionTokens: number;
}

/**
 *   accepted ─▶ started ─▶ text* ─▶ done | cancelled
 *
 * Exactly one `done` or `cancelled` (the signal was aborted), or an error thrown by the iterator. Nothing after it.
 */
export type ChatEvent =
  | { type: 'accepted' }
  | { type: 'started'; promptTokens: number; cachedTokens?: number }
  | { type: 'text'; text: string }
  | { type: 'done'; finishReason: FinishReason; stopSequence: string | null; usage: Usage }
  | { type: 'cancelled'; usage: Usage };

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
