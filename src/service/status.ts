import { z } from 'zod';

/** What the daemon says of itself at this moment. Sent over the control socket, never kept in a file. */

export const STATUS_SCHEMA_VERSION = 1;

/** What both kinds of answer begin with. */
const identity = {
  schema_version: z
    .literal(STATUS_SCHEMA_VERSION)
    .describe('Goes up when a field goes, or changes its name, type or meaning; a new field does not raise it'),
  version: z.string().describe('Version of the daemon'),
  pid: z.number().describe('Process of the daemon'),
  started_at: z.string().describe('When it started, RFC 3339'),
};

const ModelStatus = z.object({
  alias: z.string().describe('What clients call it'),
  build: z.string().describe('Build id'),
  state: z
    .enum(['absent', 'waiting', 'loading', 'ready', 'unloading', 'failed'])
    .describe('`absent`: its next request loads it; `waiting`: for memory that other models have'),
  missing_file: z.string().optional().describe('Its file when that is not there any more'),
  memory_bytes: z.number().describe('Memory when loaded, bytes: measured once it was loaded, until then predicted'),
  memory_measured: z.boolean().optional().describe('The memory was measured'),
  memory_predicted: z
    .object({
      weights_bytes: z.number().describe('Weights'),
      cache_bytes: z.number().describe('KV cache of all slots'),
      compute_bytes: z.number().describe('Buffers for computing'),
    })
    .optional()
    .describe('What was predicted from the file'),
  kept: z.boolean().optional().describe('Kept in memory whatever happens'),
  unloads_at: z.string().optional().describe('When it gives its memory back if no request comes, RFC 3339'),
  context_tokens: z.number().describe('Context of each request, tokens'),
  slots: z.number().describe('Requests that it runs at once'),
  running: z.number().describe('Requests that run now'),
  waiting: z.number().describe('Requests that wait for a slot'),
  decode_tps: z
    .number()
    .optional()
    .describe('Moving average of one stream, tokens per second; absent before the first answer'),
  prefill_tps: z.number().optional().describe('The same for reading prompts'),
});

const ErrorStatus = z.object({
  at: z.string().describe('When it happened, RFC 3339'),
  code: z.string().describe('A word for scripts'),
  message: z.string().describe('Our own words, never any content'),
});
export type ErrorStatus = z.infer<typeof ErrorStatus>;

export const Status = z
  .object({
    ...identity,
    state: z.enum(['starting', 'serving', 'paused', 'draining', 'stopped']).describe('What it does with new requests'),
    mode: z.enum(['local', 'linked']).describe('`local`: its own coordinator; `linked`: one elsewhere'),
    base_url: z.string().describe('Base URL for programs on this machine'),
    home: z.string().describe('Folder of settings, keys and models'),
    connection: z
      .object({
        state: z
          .enum(['waiting', 'dialing', 'registering', 'online', 'closed'])
          .describe('`online`: requests may come'),
        coordinator_url: z.string().describe('Address of the coordinator'),
        since: z.string().describe('Since when the state is what it is, RFC 3339'),
        last_loss: z.string().optional().describe('Why the last connection ended or the last try failed'),
        attempt: z.number().optional().describe('Tries since the last connection'),
      })
      .describe('The connection to the coordinator'),
    trust: z
      .object({
        runtime_verified: z.boolean().optional().describe('False: no requests are routed here'),
        mismatches: z.array(z.string()).optional().describe('Why not, in the words of the coordinator'),
        level: z.string().optional().describe("The coordinator's word"),
        status: z.string().optional().describe("The coordinator's word"),
        reason: z.string().optional().describe("The coordinator's words"),
      })
      .optional()
      .describe('What the coordinator said of this machine; absent before it said anything'),
    models: z.array(ModelStatus).describe('Every model that is offered'),
    memory: z
      .object({
        limit_bytes: z.number().describe('The most that loaded models may take together'),
        used_bytes: z.number().describe('What they take now'),
      })
      .describe('Memory of models'),
    requests: z
      .object({
        running: z.number().describe('Now'),
        waiting: z.number().describe('For a slot, now'),
        served: z.number().describe('Answered since the start'),
        tokens_generated: z.number().describe('Since the start'),
      })
      .describe('Requests of all models, through every door'),
    tokens_per_second: z
      .array(z.number())
      .describe('Tokens per second over all requests in each of the last 60 s, the oldest first'),
    errors: z.array(ErrorStatus).describe('The last few, newest first'),
  })
  .describe('A daemon that runs');
export type Status = z.infer<typeof Status>;

export const BlockedStatus = z
  .object({
    ...identity,
    state: z.literal('blocked').describe('It serves nothing'),
    home: z.string().describe('Folder of settings, keys and models'),
    reason: z
      .object({ code: z.string().describe('A word for scripts'), message: z.string().describe('What to mend') })
      .describe('Why'),
  })
  .describe('A service that stays up although its owner must mend something first; it tries again by itself');
export type BlockedStatus = z.infer<typeof BlockedStatus>;

/** What a reader gets. A daemon of another version may say more: that is left out. */
export const StatusOutput = z.union([Status, BlockedStatus]);
export type StatusOutput = z.infer<typeof StatusOutput>;
