import { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import { LinkedAbort } from '../util/linked-abort.js';
import type { ProviderSession } from './provider-session.js';
import { hasRoom, type Candidate, type Machine } from './routing.js';

/** Requests that wait for any machine, per model. */
export const MAX_WAITING = 10;
const MAX_WAIT_MS = 120_000;

/** All providers that are connected now, and the requests that wait for one of them. */
export class Fleet {
  readonly #sessions = new Map<string, ProviderSession>();
  readonly #waiting = new Map<string, number>();
  readonly #listeners = new Set<() => void>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(session: ProviderSession): void {
    this.#sessions.set(session.id, session);
    this.changed();
  }

  remove(session: ProviderSession): void {
    this.#sessions.delete(session.id);
    session.disconnected();
    this.changed();
  }

  /** The newest connection of a linked machine: one that was lost may take a while to be noticed. */
  connectionOf(machineId: string): ProviderSession | undefined {
    return this.sessions.findLast((session) => session.machineId === machineId);
  }

  /** Ends the connections of a linked machine, at once for routing. */
  expel(machineId: string, reason: string): void {
    for (const session of this.sessions.filter((each) => each.machineId === machineId)) {
      session.hangUp(reason);
      this.remove(session);
    }
  }

  /** Requests that wait for a machine, by the name that the client sent. */
  waitingFor(model: string): number {
    return this.#waiting.get(model) ?? 0;
  }

  get machines(): Machine[] {
    return [...this.#sessions.values()].map(({ machine }) => machine);
  }

  get sessions(): ProviderSession[] {
    return [...this.#sessions.values()];
  }

  session(id: string): ProviderSession | undefined {
    return this.#sessions.get(id);
  }

  /** Something changed that a waiting request may care about. */
  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** Resolves once `holds`; looks again whenever anything in the fleet changes. */
  async until(holds: () => boolean, signal: AbortSignal): Promise<void> {
    while (!holds()) {
      signal.throwIfAborted();
      await new Promise<void>((resolve, reject) => {
        const stop = () => {
          this.#listeners.delete(listener);
          signal.removeEventListener('abort', onAbort);
        };
        const listener = () => {
          stop();
          resolve();
        };
        const onAbort = () => {
          stop();
          reject(signal.reason as Error);
        };
        this.#listeners.add(listener);
        signal.addEventListener('abort', onAbort, { once: true });
      });
    }
  }

  /**
   * Takes the first candidate with room, waiting in a bounded line when all are busy. `candidates` is asked again on
   * every change; when it becomes empty the wait is over too. Looking and taking are one step, so that no room is given
   * to two requests; whoever waits longest looks first.
   *
   * @returns what `take` made of it; `undefined` when there is no candidate at all.
   * @throws DarkbloomError `over_capacity` when the line is full or the wait was too long; the signal's reason.
   */
  async room<T extends object>(
    model: string,
    candidates: () => Candidate[],
    take: (candidate: Candidate, session: ProviderSession) => T,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    let taken: T | undefined;
    const settled = () => {
      const now = candidates();
      const free = now.find(hasRoom);
      const session = free && this.#sessions.get(free.machine.id);
      if (free !== undefined && session !== undefined) taken = take(free, session);
      return taken !== undefined || now.length === 0;
    };
    if (settled()) return taken;
    const waiting = this.#waiting.get(model) ?? 0;
    if (waiting >= MAX_WAITING) throw busy(waiting, `All machines for ${model} are busy and ${waiting} requests wait.`);
    this.#waiting.set(model, waiting + 1);
    using patience = new LinkedAbort(signal);
    const tooLong = `No machine for ${model} became free within ${MAX_WAIT_MS / 1_000} s.`;
    using _timer = this.#clock.after(MAX_WAIT_MS, () => patience.abort(busy(waiting, tooLong)));
    try {
      await this.until(settled, patience.signal);
      return taken;
    } finally {
      this.#waiting.set(model, (this.#waiting.get(model) ?? 1) - 1);
    }
  }
}

/** How long to stay away grows with the line. */
function busy(waiting: number, message: string): DarkbloomError {
  return new DarkbloomError('over_capacity', message, { retryAfterS: Math.min(30, Math.max(2, 3 * waiting)) });
}
