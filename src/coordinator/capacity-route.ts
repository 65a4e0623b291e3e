import type { HttpApp } from '../http/app.js';
import type { JsonObject } from '../inference/types.js';
import type { SlotCapacity } from '../protocol/provider-messages.js';
import type { Account } from './accounts.js';
import { MAX_WAITING } from './waiting-line.js';
import type { DoorDeps } from './inference-door.js';
import type { Build } from './registry.js';
import { isWarm, slotOf } from './machine.js';
import { eligible } from './routing.js';

/** Anybody may ask, so the answer is made at most this often. */
const CACHE_MS = 2_000;
/** The prompt that the estimate of a first token is for, in tokens. */
const NOMINAL_PROMPT_TOKENS = 1_000;

/** Nobody's account: it sees the machines that serve others. */
const ANYONE: Account = { id: '', name: '', isOwner: false, acceptUnattested: true };

type CapacityDeps = Pick<DoorDeps, 'registry' | 'fleet' | 'gate' | 'clock'>;

/** `GET /v1/models/capacity`: how much of each model can be had now, without a login. Machines that serve their owner
 *  alone do not count. */
export function addCapacityRoute(app: HttpApp, deps: CapacityDeps): void {
  let made: { at: number; models: JsonObject[] } | undefined;
  app.get('/v1/models/capacity', (context) => {
    if (deps.gate.closed) return context.json({ models: [], draining: true });
    const now = deps.clock.now();
    if (made === undefined || now - made.at >= CACHE_MS) made = { at: now, models: capacities(deps, now) };
    return context.json({ models: made.models });
  });
}

function capacities(deps: CapacityDeps, now: number): JsonObject[] {
  return deps.registry.aliases().flatMap(({ id }) => {
    const builds = deps.registry.resolve(id)?.builds ?? [];
    return builds.length === 0 ? [] : [capacityOf(id, builds, deps, now)];
  });
}

function capacityOf(id: string, builds: readonly Build[], { fleet }: CapacityDeps, now: number): JsonObject {
  const routable = eligible(fleet.machines, { account: ANYONE, mode: 'none', builds, now });
  const slots = routable.flatMap(({ machine, build }) => slotOf(machine, build) ?? []);
  const warm = routable.filter(({ machine, build }) => isWarm(machine, build));
  const sum = (of: (slot: SlotCapacity) => number) => slots.reduce((total, slot) => total + of(slot), 0);
  const budget = sum((slot) => slot.active_token_budget_max ?? 0);
  return {
    id,
    ready: warm.length > 0,
    can_accept: routable.some(({ free }) => free),
    routable_providers: routable.length,
    warm_providers: warm.length,
    running_providers: slots.filter(({ state }) => state === 'running').length,
    cold_providers: routable.length - warm.length,
    active_requests: sum((slot) => slot.num_running),
    queued_requests: sum((slot) => slot.num_waiting) + fleet.line.inLane(builds[0]?.id ?? id),
    queue_limit: MAX_WAITING,
    aggregate_tps: sum((slot) => slot.observed_decode_tps ?? 0),
    estimated_ttft_ms: firstTokenMs(slots),
    token_budget_remaining: budget - sum((slot) => slot.active_token_budget_used ?? 0),
    token_budget_total: budget,
  };
}

/** For a prompt of 1,000 tokens on the quickest machine with the model in memory; `null`: none has measured it. */
function firstTokenMs(slots: readonly SlotCapacity[]): number | null {
  const speeds = slots.flatMap(({ observed_prefill_tps: speed }) => (speed === undefined || speed <= 0 ? [] : [speed]));
  return speeds.length === 0 ? null : Math.round((NOMINAL_PROMPT_TOKENS / Math.max(...speeds)) * 1_000);
}
