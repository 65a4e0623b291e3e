import type { BackendCapacity, ModelInfo, SlotCapacity, SystemMetrics } from '../protocol/provider-messages.js';

/** What is known of a connected machine. */
export interface Machine {
  /** Of this connection. */
  id: string;
  /** Stays from connection to connection; `undefined`: linked to no account. */
  machineId: string | undefined;
  /** The account it is linked to; `undefined`: none. */
  accountId: string | undefined;
  models: ReadonlyMap<string, ModelInfo>;
  /** Serves its owner alone. */
  privateOnly: boolean;
  /** It can be sealed to, and seals its answers. */
  encrypted: boolean;
  /** Why it is not trusted, for people; `undefined`: it is. */
  mistrust: string | undefined;
  /** Wants no new request: paused or draining. */
  draining: boolean;
  /** When it last answered a challenge well, ms since the epoch. */
  challengedAt: number | undefined;
  /** When its last frame came, ms since the epoch. */
  heardAt: number;
  metrics: SystemMetrics | undefined;
  capacity: BackendCapacity | undefined;
  /** Tokens per second that it announced, `undefined`: none. */
  prefillTps: number | undefined;
  decodeTps: number | undefined;
  /** Our requests running there, by build. */
  assigned: ReadonlyMap<string, number>;
  /** Of the running and waiting requests in the last heartbeat, those that are not ours, by build. */
  foreign: ReadonlyMap<string, number>;
  /** Tokens of our requests that were sent since the last heartbeat, by build. */
  reserved: ReadonlyMap<string, number>;
  /** Builds for which it has refused a request as full since the last heartbeat. */
  full: ReadonlySet<string>;
  /** Builds that it has written with since the last heartbeat, which may have said that they are not in memory. */
  wrote: ReadonlySet<string>;
}

/** What is remembered of a machine beyond its connection goes by this name. */
export function keyOf({ machineId, id }: Machine): string {
  return machineId ?? id;
}

export function slotOf(machine: Machine, build: string): SlotCapacity | undefined {
  return machine.capacity?.slots.find(({ model }) => model === build);
}

/** Whether the model is in memory. */
export function isWarm(machine: Machine, build: string): boolean {
  const state = slotOf(machine, build)?.state;
  return state === 'running' || state === 'idle' || machine.wrote.has(build);
}

/** Whether the model is on its way into memory. */
export function isLoading(machine: Machine, build: string): boolean {
  return slotOf(machine, build)?.state === 'reloading' && !machine.wrote.has(build);
}

/** Requests of the build that run or wait there. */
export function loadOf(machine: Machine, build: string): number {
  return (machine.assigned.get(build) ?? 0) + (machine.foreign.get(build) ?? 0);
}
