import { z } from 'zod';

/** What the daemon says of itself at this moment. Sent over the control socket, never kept in a file. */

export const STATUS_SCHEMA_VERSION = 1;

const ModelStatus = z.object({
  alias: z.string(),
  build: z.string(),
  /** `waiting`: for memory that other models have. */
  state: z.enum(['absent', 'waiting', 'loading', 'ready', 'unloading', 'failed']),
  /** Its file when that is not there any more. */
  missing_file: z.string().optional(),
  /** Memory when loaded, bytes: measured once it was loaded, until then predicted. */
  memory_bytes: z.number(),
  memory_measured: z.boolean().optional(),
  /** What was predicted from the file. */
  memory_predicted: z
    .object({ weights_bytes: z.number(), cache_bytes: z.number(), compute_bytes: z.number() })
    .optional(),
  /** Kept in memory whatever happens. */
  kept: z.boolean().optional(),
  /** When it gives its memory back if no request comes. */
  unloads_at: z.string().optional(),
  context_tokens: z.number(),
  slots: z.number(),
  running: z.number(),
  waiting: z.number(),
  /** Moving average of one stream, tokens per second; absent before the first answer. */
  decode_tps: z.number().optional(),
  prefill_tps: z.number().optional(),
});

const ErrorStatus = z.object({ at: z.string(), code: z.string(), message: z.string() });
export type ErrorStatus = z.infer<typeof ErrorStatus>;

export const Status = z.object({
  schema_version: z.literal(STATUS_SCHEMA_VERSION),
  version: z.string(),
  pid: z.number(),
  started_at: z.string(),
  state: z.enum(['starting', 'serving', 'paused', 'draining', 'stopped']),
  mode: z.enum(['local', 'linked']),
  base_url: z.string(),
  home: z.string(),
  connection: z.object({
    state: z.enum(['waiting', 'dialing', 'registering', 'online', 'closed']),
    coordinator_url: z.string(),
    /** Since when the state is what it is. */
    since: z.string(),
    /** Why the last connection ended or the last try failed. */
    last_loss: z.string().optional(),
    /** Tries since the last connection. */
    attempt: z.number().optional(),
  }),
  /** What the coordinator said of this machine; absent before it said anything. */
  trust: z
    .object({
      runtime_verified: z.boolean().optional(),
      mismatches: z.array(z.string()).optional(),
      level: z.string().optional(),
      status: z.string().optional(),
      reason: z.string().optional(),
    })
    .optional(),
  models: z.array(ModelStatus),
  memory: z.object({ limit_bytes: z.number(), used_bytes: z.number() }),
  requests: z.object({ running: z.number(), waiting: z.number(), served: z.number(), tokens_generated: z.number() }),
  /** Tokens per second over all requests in each of the last 60 s, the oldest first. */
  tokens_per_second: z.array(z.number()),
  /** The last few, newest first. Never any content. */
  errors: z.array(ErrorStatus),
});
export type Status = z.infer<typeof Status>;

/** A service that stays up although its owner must mend something first; it tries again by itself. */
export const BlockedStatus = z.object({
  schema_version: z.literal(STATUS_SCHEMA_VERSION),
  version: z.string(),
  pid: z.number(),
  started_at: z.string(),
  state: z.literal('blocked'),
  home: z.string(),
  reason: z.object({ code: z.string(), message: z.string() }),
});
export type BlockedStatus = z.infer<typeof BlockedStatus>;
