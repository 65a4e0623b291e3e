/** Whoever answers: the runtime itself, a runner, or a server. */

export interface TargetRequest {
  prompt: string;
  maxTokens: number;
}

export type TargetEvent = { type: 'text' } | { type: 'end'; promptTokens: number; completionTokens: number };

export interface Target {
  /** Ends without `end` when aborted.
   *  @throws Error when refused or broken off. */
  ask(request: TargetRequest, signal: AbortSignal): AsyncIterable<TargetEvent>;
  close(): Promise<void>;
}

/** The same for all, so that all do the same work. */
export const SAMPLING = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 } as const;

/** A model and its room, the same for all. */
export interface ModelOrder {
  path: string;
  rows: number;
  contextTokens: number;
  threads: number;
}

export type TargetSpec =
  | { kind: 'raw'; model: ModelOrder }
  | { kind: 'runner'; model: ModelOrder }
  | { kind: 'http'; baseUrl: string; apiKey: string; model: string };
