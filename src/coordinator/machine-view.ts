import { z } from 'zod';
import type { ProviderSession } from './provider-session.js';
import type { Alias } from './registry.js';
import { hasFreshChallenge } from './routing.js';

/** A connected machine, as its owner sees it. Pure. */
export const MachineView = z.object({
  id: z.string().describe('Id of the connection'),
  chip: z.string().describe('Its chip'),
  machine_model: z.string().describe('Its model'),
  memory_gb: z.number().describe('Its memory, GiB'),
  version: z.string().optional().describe('Version of its daemon'),
  state: z
    .enum(['ready', 'busy', 'paused', 'checking', 'hot', 'untrusted'])
    .describe(
      '`ready` and `busy` take requests; `paused`: it asked for none; `checking`: it has not answered a challenge lately; ' +
        '`hot`: too hot to work; `untrusted`: see `reason`',
    ),
  reason: z.string().optional().describe('Why it is not trusted'),
  connected_at: z.string().describe('Since when, RFC 3339'),
  heard_at: z.string().describe('When it last said anything, RFC 3339'),
  running: z.number().describe('Requests that it answers now'),
  waiting: z.number().describe('Requests that wait on it'),
  tokens_per_second: z
    .array(z.number())
    .describe('Tokens that it wrote for this coordinator in each of the last 60 s, the oldest first'),
  models: z
    .array(
      z.object({
        id: z.string().describe('What clients call it'),
        build: z.string().describe('Build id'),
        state: z.enum(['absent', 'loading', 'ready', 'failed']).describe('`absent`: its next request loads it'),
        running: z.number().describe('Requests that run now'),
        waiting: z.number().describe('Requests that wait for a slot'),
        decode_tps: z
          .number()
          .optional()
          .describe('Moving average of one stream, tokens per second; absent before the first answer'),
      }),
    )
    .describe('What it can serve'),
});
export type MachineView = z.infer<typeof MachineView>;

export function machineView(session: ProviderSession, aliases: readonly Alias[], now: number): MachineView {
  const { machine, register } = session;
  const { hardware, version } = register;
  const slots = machine.capacity?.slots ?? [];
  const models = [...machine.models.keys()].map((build) => {
    const slot = slots.find(({ model }) => model === build);
    // ours are known at once; those of others, from the last heartbeat
    const all = (machine.assigned.get(build) ?? 0) + (machine.foreign.get(build) ?? 0);
    const running = Math.min(all, slot?.max_concurrency ?? all);
    return {
      id: aliases.find((alias) => isBuildOf(alias, build))?.id ?? build,
      build,
      state: slotState(slot?.state, running),
      running,
      waiting: all - running,
      ...(slot?.observed_decode_tps === undefined ? {} : { decode_tps: slot.observed_decode_tps }),
    };
  });
  return {
    id: machine.id,
    chip: hardware.chip_name,
    machine_model: hardware.machine_model,
    memory_gb: hardware.memory_gb,
    ...(version === undefined ? {} : { version }),
    state: stateOf(session, now),
    ...(machine.mistrust === undefined ? {} : { reason: machine.mistrust }),
    connected_at: new Date(session.connectedAt).toISOString(),
    heard_at: new Date(session.heardAt).toISOString(),
    running: models.reduce((sum, model) => sum + model.running, 0),
    waiting: models.reduce((sum, model) => sum + model.waiting, 0),
    tokens_per_second: session.tokensPerSecond,
    models,
  };
}

function stateOf({ machine, running }: ProviderSession, now: number): MachineView['state'] {
  if (machine.mistrust !== undefined) return 'untrusted';
  if (machine.draining) return 'paused';
  if (machine.metrics?.thermal_state === 'critical') return 'hot';
  if (!hasFreshChallenge(machine, now)) return 'checking';
  return running > 0 ? 'busy' : 'ready';
}

/** The wire's word for a slot, in the words of `status`. */
function slotState(state: string | undefined, running: number): MachineView['models'][number]['state'] {
  if (state === 'running' || state === 'idle') return 'ready';
  if (state === 'reloading') return 'loading';
  if (state === 'crashed') return 'failed';
  return running > 0 ? 'loading' : 'absent'; // its request loads it, and the next heartbeat says so
}

function isBuildOf({ desiredBuild, previousBuild, retiredBuilds }: Alias, build: string): boolean {
  return desiredBuild === build || previousBuild === build || retiredBuilds.includes(build);
}
