import { DarkbloomError } from '../errors.js';
import type { Accounts } from './accounts.js';
import type { Fleet } from './fleet.js';
import type { Machine } from './machine.js';
import { fitnessOf, type Obstacle, type Weariness, type Wish } from './routing.js';

/** Why no machine can take a request, said with the code that fits and the time after which asking again makes sense. */

const DRAINING_RETRY_S = 3;
const OFFLINE_RETRY_S = 30;
const NOT_LOADED_RETRY_S = 15;
const UNAVAILABLE_RETRY_S = 2;

interface RefusalDeps {
  fleet: Fleet;
  accounts: Accounts;
}

export function refusalOf(model: string, wish: Wish, deps: RefusalDeps): DarkbloomError {
  const own = wish.mode === 'self' || wish.machineIds !== undefined;
  return own ? ownRefusal(model, wish, deps) : fleetRefusal(model, wish, deps);
}

/** No other machine than the caller's own will do. */
function ownRefusal(model: string, wish: Wish, { fleet, accounts }: RefusalDeps): DarkbloomError {
  const { account, machineIds } = wish;
  const own = fleet.machines.filter(
    ({ accountId, machineId }) => accountId === account.id && machineIds?.has(machineId ?? '') !== false,
  );
  if (own.length === 0 && machineIds === undefined && !accounts.hasMachine(account.id)) {
    return new DarkbloomError(
      'no_linked_machine',
      'No machine is linked to this account. Link one with `darkbloom-provider link URL`.',
    );
  }
  if (own.length === 0) {
    const message = `${whichMachine(wish)} is not connected. Start it with \`darkbloom-provider start\`.`;
    return new DarkbloomError('machine_offline', message, { retryAfterS: OFFLINE_RETRY_S });
  }
  const [mistrust] = own.flatMap((machine) => machine.mistrust ?? []);
  if (mistrust !== undefined && own.every((machine) => machine.mistrust !== undefined)) {
    const message = `${whichMachine(wish)} is connected but not trusted: ${mistrust}. Restart it, or update it.`;
    return new DarkbloomError('machine_offline', message, { retryAfterS: OFFLINE_RETRY_S });
  }
  if (own.every(({ draining }) => draining)) {
    const message = `${whichMachine(wish)} is paused or stopping. \`darkbloom-provider resume\` lets a paused one serve again.`;
    return new DarkbloomError('draining', message, { retryAfterS: DRAINING_RETRY_S });
  }
  const why = firstCause(own, wish);
  const message = `${whichMachine(wish)} is connected but cannot serve '${model}' now${why === undefined ? '' : `: ${CAUSES[why]}`}.`;
  return new DarkbloomError('model_not_loaded', message, { retryAfterS: NOT_LOADED_RETRY_S });
}

function whichMachine({ machineIds }: Wish): string {
  return machineIds === undefined ? 'Your machine' : 'The machine that you named';
}

function fleetRefusal(model: string, wish: Wish, { fleet }: RefusalDeps): DarkbloomError {
  const why = firstCause(fleet.machines, wish);
  const cause = why === undefined || why === 'no_model' || why === 'other_owner' ? undefined : CAUSES[why];
  const message =
    cause === undefined
      ? `No machine that may serve '${model}' to you is connected now.`
      : `No machine can serve '${model}' to you now. Of the one that comes nearest: ${cause}.`;
  return new DarkbloomError('model_unavailable', message, { retryAfterS: retryAfterS(wish, fleet) });
}

/** When the first machine that rests may be asked again. */
function retryAfterS(wish: Wish, { machines }: Fleet): number {
  const rests = machines.flatMap((machine) => {
    const fitness = fitnessOf(machine, wish);
    return fitness.obstacle === undefined ? (wish.knowledge?.restsUntil(machine, fitness.build) ?? []) : [];
  });
  const soonestMs = Math.min(...rests) - wish.now;
  return Number.isFinite(soonestMs) ? Math.max(UNAVAILABLE_RETRY_S, Math.ceil(soonestMs / 1_000)) : UNAVAILABLE_RETRY_S;
}

type Cause = Obstacle | Weariness;

/** The nearest to serving first. */
const CAUSES: Record<Cause, string> = {
  resting: 'it failed lately and is left alone for a while',
  load_failed: 'it could not load the model',
  draining: 'it is paused or stopping',
  hot: 'it is too hot',
  stale: 'it has not answered a challenge of this coordinator lately',
  not_trusted: 'it is not trusted',
  not_sealed: 'it cannot seal its answers',
  not_accepted: 'this account does not accept machines that prove nothing of themselves',
  no_model: 'it does not have the model, or not with the pinned weights',
  not_named: 'it was not named',
  other_owner: 'it serves its owner alone',
};

function firstCause(machines: readonly Machine[], wish: Wish): Cause | undefined {
  const found = new Set<Cause>(
    machines.flatMap((machine) => {
      const fitness = fitnessOf(machine, wish);
      return fitness.obstacle ?? fitness.weariness ?? [];
    }),
  );
  return (Object.keys(CAUSES) as Cause[]).find((cause) => found.has(cause));
}
