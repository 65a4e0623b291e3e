import { CHALLENGE_FRESHNESS_MS } from '../protocol/limits.js';
import type { Account } from './accounts.js';
import { expectedFirstTokenMs } from './first-token.js';
import type { RouteMode } from './ledger.js';
import { isLoading, loadOf, slotOf, type Machine } from './machine.js';

/** Which machine may and should serve a request. Pure. */

/** Concurrency of a machine that has not said, and the most that any is believed. */
const DEFAULT_CONCURRENCY = 4;
const MAX_CONCURRENCY = 24;

/** A build that will do. */
interface WantedBuild {
  id: string;
  weightHash?: string | undefined;
}

export interface Wish {
  account: Account;
  mode: RouteMode;
  /** The best first. */
  builds: readonly WantedBuild[];
  now: number;
  /** Machines that the caller named; absent: any. */
  machineIds?: ReadonlySet<string> | undefined;
  promptTokens?: number;
  /** Of prompt and answer. */
  tokens?: number;
  /** What was learned of the machines; absent: nothing. */
  knowledge?: Knowledge;
}

/** What earlier requests have shown. Machines go by `keyOf`, except for what their process has cached. */
export interface Knowledge {
  /** Until when a machine is left alone with a build after failures, ms since the epoch; `undefined`: it is not. */
  restsUntil: (machine: Machine, build: string) => number | undefined;
  /** Tokens of this prompt that are probably cached there. */
  cachedTokens: (machine: Machine, build: string) => number;
  /** A promised time to the first token, as far as such promises were kept, ms. */
  corrected: (machine: Machine, build: string, promisedMs: number) => number;
}

export interface Candidate {
  machine: Machine;
  build: string;
  own: boolean;
  /** It can take one more request now. */
  free: boolean;
  /** Milliseconds to the first token, by what the machine says of itself. */
  promisedMs: number;
  /** And by what was learned of it. */
  expectedMs: number;
}

/** What keeps a machine from a request, whatever happens to the others. */
export type Obstacle =
  | 'other_owner'
  | 'not_accepted'
  | 'not_named'
  | 'no_model'
  | 'not_sealed'
  | 'not_trusted'
  | 'draining'
  | 'hot'
  | 'stale';
/** What a machine may get over soon. */
export type Weariness = 'load_failed' | 'resting';

type Fitness = { obstacle: Obstacle } | { obstacle?: never; build: string; weariness: Weariness | undefined };

/** Machines that may serve the wish, free or not, in the order to try them: own ones first where that was asked, then
 *  those from which the first token is expected soonest. A weary one is left alone, except by its owner when no other
 *  has the model: one crash must not lock the owner out. */
export function eligible(machines: readonly Machine[], wish: Wish): Candidate[] {
  const fit = machines.flatMap((machine) => {
    const fitness = fitnessOf(machine, wish);
    return fitness.obstacle === undefined ? [{ machine, ...fitness }] : [];
  });
  const fresh = fit.filter(({ weariness }) => weariness === undefined);
  const chosen = fresh.length > 0 ? fresh : fit.filter(({ machine }) => isOwn(machine, wish));
  const candidates = chosen.map(({ machine, build }) => candidateOf(machine, build, wish));
  const rank = ({ own }: Candidate) => (wish.mode !== 'none' && !own ? 1 : 0);
  return candidates.sort((a, b) => rank(a) - rank(b) || a.expectedMs - b.expectedMs);
}

function candidateOf(machine: Machine, build: string, wish: Wish): Candidate {
  const { promptTokens = 0, tokens = promptTokens, knowledge, now } = wish;
  const own = isOwn(machine, wish);
  const cachedTokens = knowledge?.cachedTokens(machine, build) ?? 0;
  const promisedMs = expectedFirstTokenMs(machine, build, { tokens: promptTokens, cachedTokens }, now);
  return {
    machine,
    build,
    own,
    free: hasRoom(machine, build, { own, tokens }),
    promisedMs,
    expectedMs: knowledge?.corrected(machine, build, promisedMs) ?? promisedMs,
  };
}

/** What keeps this machine from the wish, if anything. */
export function fitnessOf(machine: Machine, wish: Wish): Fitness {
  const refused = permission(machine, wish);
  if (refused !== undefined) return { obstacle: refused };
  const build = wish.builds.find(({ id, weightHash }) => serves(machine, id, weightHash));
  if (build === undefined) return { obstacle: 'no_model' };
  const obstacle = condition(machine, wish);
  if (obstacle !== undefined) return { obstacle };
  return { build: build.id, weariness: wearinessOf(machine, build.id, wish) };
}

/** The owner of a machine is let in with less: no hardware trust is asked for. Between different people both must have
 *  agreed: the machine to serve others, the account to be served by a machine that proves nothing. */
function permission(machine: Machine, wish: Wish): Obstacle | undefined {
  const { account, mode, machineIds } = wish;
  const own = isOwn(machine, wish);
  if (machine.accountId === undefined || (!own && (mode === 'self' || machine.privateOnly))) return 'other_owner';
  if (!own && !account.acceptUnattested) return 'not_accepted';
  return machineIds?.has(machine.machineId ?? '') === false ? 'not_named' : undefined;
}

function condition(machine: Machine, { now }: Wish): Obstacle | undefined {
  if (!machine.encrypted) return 'not_sealed';
  if (machine.mistrust !== undefined) return 'not_trusted';
  if (machine.draining) return 'draining';
  if (machine.metrics?.thermal_state === 'critical') return 'hot';
  return hasFreshChallenge(machine, now) ? undefined : 'stale';
}

function wearinessOf(machine: Machine, build: string, { knowledge }: Wish): Weariness | undefined {
  if (slotOf(machine, build)?.state === 'crashed') return 'load_failed';
  return knowledge?.restsUntil(machine, build) === undefined ? undefined : 'resting';
}

function isOwn({ accountId }: Machine, { account }: Wish): boolean {
  return accountId === account.id;
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

/** Requests of the build that the machine runs at once. */
export function rowsOf(machine: Machine, build: string): number {
  return Math.min(slotOf(machine, build)?.max_concurrency ?? DEFAULT_CONCURRENCY, MAX_CONCURRENCY);
}

/** Whether the machine can run one more request of this build now. The owner's request waits on the machine while it
 *  loads the model; others wait here, where the first machine that is ready can take them. */
function hasRoom(machine: Machine, build: string, { own, tokens }: { own: boolean; tokens: number }): boolean {
  if (machine.full.has(build) || loadOf(machine, build) >= rowsOf(machine, build)) return false;
  if (!own && isLoading(machine, build)) return false;
  return fitsBudget(machine, build, tokens);
}

/** Whether what runs and waits there leaves enough of the tokens that it can hold. A request that would take more than
 *  its share of the rows is cut to that by the machine. */
function fitsBudget(machine: Machine, build: string, tokens: number): boolean {
  const slot = slotOf(machine, build);
  const most = slot?.active_token_budget_max ?? 0;
  if (slot === undefined || most <= 0) return true;
  const used = (slot.active_token_budget_used ?? 0) + (slot.queued_token_budget ?? 0);
  const share = most / rowsOf(machine, build);
  return used + (machine.reserved.get(build) ?? 0) + Math.min(tokens, share) <= most;
}

/** Why a request has to wait for these machines, for people. */
export function busyWhy(model: string, candidates: readonly Candidate[]): string {
  const loading = candidates.filter(({ machine, build }) => isLoading(machine, build)).length;
  const what =
    candidates.length === 1 ? `The machine for ${model} is` : `All ${candidates.length} machines for ${model} are`;
  if (loading === 0) return `${what} busy.`;
  return loading === candidates.length ? `${what} loading it.` : `${what} busy or loading it.`;
}
