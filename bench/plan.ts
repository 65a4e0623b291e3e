/** What a load generator is to do, and what it saw. Both pass between processes. */

export interface PlannedRequest {
  /** Figures are taken by this word. */
  role: string;
  prompt: string;
  maxTokens: number;
  /** Milliseconds after the client's request before it ended; the first one's after the phase began. */
  waitMs?: number;
  /** Not before every stream of these roles, all in the same phase, showed so many pieces of text. */
  afterTexts?: { roles: readonly string[]; count: number };
  /** The client leaves, and goes on with its next request at once. `afterRoles`: when all requests of these roles, in the
   *  same phase, have ended. */
  abort?: { afterMs: number } | { afterTexts: number } | { afterRoles: readonly string[] };
}

/** Requests of one client, one after the other. */
export type PlannedClient = readonly PlannedRequest[];

/** Phases follow one another; the clients of one phase run side by side. */
export type Plan = readonly (readonly PlannedClient[])[];

export interface RequestRecord {
  role: string;
  phase: number;
  /** All times: milliseconds since the recording began. */
  sentMs: number;
  /** When each piece of text came. */
  textMs: number[];
  abortedMs?: number;
  endMs: number;
  outcome: 'done' | 'aborted' | 'failed';
  /** As the other side counted them; 0 when it was not asked to the end. */
  promptTokens: number;
  completionTokens: number;
  /** Of a failed one. */
  reason?: string;
}

export interface Recording {
  requests: RequestRecord[];
  /** From the first request sent to the last one ended. */
  wallMs: number;
  /** CPU time of the load generator's process meanwhile, seconds. For `raw` that process is also the model's. */
  generatorCpuSeconds: number;
}
