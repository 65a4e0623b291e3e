import type { BackendCapacity, ModelInfo, SystemMetrics } from '../protocol/provider-messages.js';
import { CHALLENGE_FRESHNESS_MS } from '../protocol/limits.js';
import type { Account } from './accounts.js';
import type { RouteMode } from './ledger.js';

/** Which machine may and should serve a request. Pure. */

/** Concurrency of a machine that has not said, and the most that any is believed. */
const DEFAULT_CONCURRENCY = 4;
const MAX_CONCURRENCY = 24;

/** What is known of a connected machine. */
export interface Machine {
  id: string;
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
  metrics: SystemMetrics | undefined;
  capacity: BackendCapacity | undefined;
  /** Our requests running there, by build. */
  assigned: ReadonlyMap<string, number>;
  /** Of the running and waiting requests in the last heartbeat, those that are not ours, by build. */
  foreign: ReadonlyMap<string, number>;
}

interface Wish {
  account: Account;
  mode: RouteMode;
  /** Builds that will do, the best first. */
  builds: readonly { id: string; weightHash?: string | undefined }[];
  now: number;
}

export interface Candidate {
  machine: Machine;
  build: string;
  own: boolean;
}

/** What `X-Darkbloom-Route` and the key ask for; without either, `fallback`. */
export function routeModeOf(header: string | undefined, selfRouteOnly: boolean, fallback: RouteMode): RouteMode {
  if (selfRouteOnly) return 'self';
  if (header === undefined) return fallback;
  const word = header.trim().toLowerCase();
  return word === 'self' || word === 'prefer' ? word : 'none';
}

/** Machines that may serve the wish, free or not, in the order to try them: own ones first where that was asked, then
 *  those with the model in memory, then the least busy. */
export function eligible(machines: readonly Machine[], wish: Wish): Candidate[] {
  const candidates = machines.flatMap((machine): Candidate[] => {
    const own = machine.accountId === wish.account.id;
    if (!mayServe(machine, own, wish)) return [];
    const build = wish.builds.find(({ id, weightHash }) => serves(machine, id, weightHash));
    return build === undefined ? [] : [{ machine, build: build.id, own }];
  });
  const rank = ({ machine, build, own }: Candidate) =>
    (wish.mode !== 'none' && !own ? 1e6 : 0) + (isWarm(machine, build) ? 0 : 1e3) + load(machine, build);
  return candidates.sort((a, b) => rank(a) - rank(b));
}

/** The owner of a machine is let in with less: no hardware trust is asked for. Between different people both must have
 *  agreed: the machine to serve others, the account to be served by a machine that proves nothing. */
function mayServe(machine: Machine, own: boolean, { account, mode, now }: Wish): boolean {
  if (machine.accountId === undefined || !machine.encrypted || machine.draining) return false;
  if (machine.metrics?.thermal_state === 'critical') return false;
  if (machine.mistrust !== undefined || !hasFreshChallenge(machine, now)) return false;
  if (own) return true;
  return mode !== 'self' && !machine.privateOnly && account.acceptUnattested;
}

/** Whether the machine passed a challenge lately. */
export function hasFreshChallenge({ challengedAt }: Machine, now: number): boolean {
  return challengedAt !== undefined && now - challengedAt <= CHALLENGE_FRESHNESS_MS;
}

function serves(machine: Machine, build: string, weightHash: string | undefined): boolean {
  const model = machine.models.get(build);
  if (model === undefined || model.template_render_ok === false) return false;
  return weightHash === undefined || model.weight_hash === undefined || model.weight_hash === weightHash;
}

/** What the machine last said of the build. */
export function slotOf(machine: Machine, build: string) {
  return machine.capacity?.slots.find(({ model }) => model === build);
}

/** Whether the machine has the build in memory. */
export function isWarm(machine: Machine, build: string): boolean {
  const state = slotOf(machine, build)?.state;
  return state === 'running' || state === 'idle';
}

function load(machine: Machine, build: string): number {
  return (machine.assigned.get(build) ?? 0) + (machine.foreign.get(build) ?? 0);
}

/** Whether the machine can run one more request of this build now. */
export function hasRoom({ machine, build }: Candidate): boolean {
  const said = slotOf(machine, build)?.max_concurrency ?? DEFAULT_CONCURRENCY;
  return load(machine, build) < Math.min(said, MAX_CONCURRENCY);
}
