import { DarkbloomError, toFailure } from '../errors.js';
import type { Clock } from '../util/clock.js';
import { LinkedAbort } from '../util/linked-abort.js';

/** Requests of one account that wait for a machine with one model. */
export const MAX_WAITING = 10;
/** Requests that wait, over all accounts and models. */
export const MAX_WAITING_IN_ALL = 100;
const MAX_WAIT_MS = 120_000;
const SECONDS_PER_WAITING = 3;
const SHORTEST_RETRY_S = 2;
const LONGEST_RETRY_S = 30;

/** A request that looks for a machine. */
export interface Seeker {
  accountId: string;
  /** Requests of one account for the same model wait in one lane, whatever name they use for it. */
  lane: string;
  /** Takes a machine if there is one: only of those that belong to the account, or any. True: the search is over. */
  look: (which: 'own' | 'any') => boolean;
  /** Why it waits, for people. */
  why: () => string;
}

interface Waiter {
  seeker: Seeker;
  over: (error?: Error) => void;
}

/**
 * Requests that wait because all machines are busy. When something becomes free, a machine's owner comes first; then the
 * accounts take turns, and within an account whoever came first.
 */
export class WaitingLine {
  readonly #clock: Clock;
  /** By account; the account whose turn is next comes first. */
  readonly #waiting = new Map<string, Waiter[]>();
  #advancing = false;
  #again = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get length(): number {
    return [...this.#waiting.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** Of all accounts. */
  inLane(lane: string): number {
    return [...this.#waiting.values()].flat().filter(({ seeker }) => seeker.lane === lane).length;
  }

  waitingIn({ accountId, lane }: Pick<Seeker, 'accountId' | 'lane'>): number {
    return (this.#waiting.get(accountId) ?? []).filter(({ seeker }) => seeker.lane === lane).length;
  }

  /** Looks, and waits until looking has ended the search.
   *  @throws DarkbloomError `over_capacity` when the line is full or the wait was too long; the signal's reason. */
  async wait(seeker: Seeker, signal: AbortSignal): Promise<void> {
    if (seeker.look('any')) return;
    signal.throwIfAborted();
    this.refuseIfFull(seeker);
    using patience = new LinkedAbort(signal);
    using _timer = this.#clock.after(MAX_WAIT_MS, () => {
      const waiting = this.waitingIn(seeker) - 1;
      patience.abort(busy(waiting, `${seeker.why()} None became free within ${MAX_WAIT_MS / 1_000} s.`));
    });
    await this.#join(seeker, patience.signal);
  }

  /** @throws DarkbloomError `over_capacity`. */
  refuseIfFull({ why, ...place }: Omit<Seeker, 'look'>): void {
    const waiting = this.waitingIn(place);
    if (waiting >= MAX_WAITING) throw busy(waiting, `${why()} ${waiting} of your requests wait, the most that may.`);
    const { length } = this;
    if (length >= MAX_WAITING_IN_ALL) throw busy(length, `${why()} ${length} requests wait, the most that may.`);
  }

  #join(seeker: Seeker, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const onAbort = () => waiter.over(signal.reason as Error);
      const waiter: Waiter = {
        seeker,
        over: (error) => {
          signal.removeEventListener('abort', onAbort);
          this.#leave(waiter);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const others = this.#waiting.get(seeker.accountId);
      if (others === undefined) this.#waiting.set(seeker.accountId, [waiter]);
      else others.push(waiter);
    });
  }

  #leave(waiter: Waiter): void {
    const { accountId } = waiter.seeker;
    const left = (this.#waiting.get(accountId) ?? []).filter((other) => other !== waiter);
    if (left.length === 0) this.#waiting.delete(accountId);
    else this.#waiting.set(accountId, left);
  }

  /** Something became free, came or went. What is taken meanwhile may call this again. */
  advance(): void {
    this.#again = true;
    if (this.#advancing) return;
    this.#advancing = true;
    try {
      while (this.#again) {
        this.#again = false;
        for (const accountId of [...this.#waiting.keys()]) while (this.#serve(accountId, 'own'));
        while (this.#round());
      }
    } finally {
      this.#advancing = false;
    }
  }

  /** Each account's first that finds something. Who was served is last in the next round. */
  #round(): boolean {
    let served = false;
    for (const accountId of [...this.#waiting.keys()]) {
      if (!this.#serve(accountId, 'any')) continue;
      served = true;
      const rest = this.#waiting.get(accountId);
      if (rest === undefined) continue;
      this.#waiting.delete(accountId);
      this.#waiting.set(accountId, rest);
    }
    return served;
  }

  #serve(accountId: string, which: 'own' | 'any'): boolean {
    for (const waiter of this.#waiting.get(accountId) ?? []) {
      try {
        if (!waiter.seeker.look(which)) continue;
        waiter.over();
      } catch (error) {
        waiter.over(toFailure(error));
      }
      return true;
    }
    return false;
  }
}

/** How long to stay away grows with the line. */
function busy(waiting: number, message: string): DarkbloomError {
  const retryAfterS = Math.min(LONGEST_RETRY_S, Math.max(SHORTEST_RETRY_S, SECONDS_PER_WAITING * waiting));
  return new DarkbloomError('over_capacity', message, { retryAfterS });
}
