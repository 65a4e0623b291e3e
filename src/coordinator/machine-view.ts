import { isWarm } from './machine.js';
import type { ProviderSession } from './provider-session.js';
import type { Alias } from './registry.js';
import { hasFreshChallenge } from './routing.js';

/** A connected machine, as its owner sees it. Times are RFC 3339. */
export interface MachineView {
  /** Of the connection. */
  id: string;
  chip: string;
  machine_model: string;
  /** GiB. */
  memory_gb: number;
  /** Of its daemon. */
  version?: string;
  /**
   * `ready` and `busy` take requests; `paused`: it asked for none; `checking`: it has not answered a challenge lately;
   * `hot`: too hot to work; `untrusted`: see `reason`.
   */
  state: 'ready' | 'busy' | 'paused' | 'checking' | 'hot' | 'untrusted';
  /** Why it is not trusted. */
  reason?: string;
  connected_at: string;
  /** When it last said anything. */
  heard_at: string;
  /** Requests that it answers now, and that wait on it. */
  running: number;
  waiting: number;
  /** Tokens that it wrote for this coordinator in each of the last 60 s, the oldest first. */
  tokens_per_second: number[];
  models: ModelView[];
}

/** What it can serve. */
interface ModelView {
  /** What clients call it. */
  id: string;
  build: string;
  /** `absent`: its next request loads it. */
  state: 'absent' | 'loading' | 'ready' | 'failed';
  running: number;
  waiting: number;
  /** Moving average of one stream, tokens per second; absent before the first answer. */
  decode_tps?: number;
}

/** Pure. */
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
      state: isWarm(machine, build) ? 'ready' : slotState(slot?.state, running),
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

/** The wire's word for the slot of a model that is not in memory, in the words of `status`. */
function slotState(state: string | undefined, running: number): ModelView['state'] {
  if (state === 'reloading') return 'loading';
  if (state === 'crashed') return 'failed';
  return running > 0 ? 'loading' : 'absent'; // its request loads it, and the next heartbeat says so
}

function isBuildOf({ desiredBuild, previousBuild, retiredBuilds }: Alias, build: string): boolean {
  return desiredBuild === build || previousBuild === build || retiredBuilds.includes(build);
}
