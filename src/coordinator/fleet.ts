import type { Clock } from '../util/clock.js';
import { Breakers, type Shape } from './breakers.js';
import { LearnedPace } from './learned-pace.js';
import { keyOf, type Machine } from './machine.js';
import { PrefixAffinity, type Beginning } from './prefix-affinity.js';
import type { ProviderSession } from './provider-session.js';
import { busyWhy, rowsOf, type Candidate, type Knowledge } from './routing.js';
import { MAX_WAITING_IN_ALL, WaitingLine } from './waiting-line.js';

/** Requests whose bodies are read and checked at once, beyond those that have a place. */
const MAX_BEING_READ = 32;

/** A request that needs a machine. */
export interface Search<T> {
  accountId: string;
  lane: string;
  /** For people. */
  model: string;
  /** The machines that may serve it now, the best first. */
  candidates: () => Candidate[];
  /** Sends it to one that is free. */
  take: (candidate: Candidate, session: ProviderSession) => T;
}

/** All providers that are connected now, what was learned of them, and the requests that wait for one of them. */
export class Fleet {
  readonly breakers: Breakers;
  readonly pace = new LearnedPace();
  readonly prefixes = new PrefixAffinity();
  readonly line: WaitingLine;
  readonly #sessions = new Map<string, ProviderSession>();
  readonly #listeners = new Set<() => void>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.breakers = new Breakers(clock);
    this.line = new WaitingLine(clock);
  }

  add(session: ProviderSession): void {
    this.#sessions.set(session.id, session);
    this.changed();
  }

  remove(session: ProviderSession): void {
    if (!this.#sessions.delete(session.id)) return;
    if (session.running > 0) this.breakers.lost(keyOf(session.machine));
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

  get machines(): Machine[] {
    return [...this.#sessions.values()].map(({ machine }) => machine);
  }

  get sessions(): ProviderSession[] {
    return [...this.#sessions.values()];
  }

  session(id: string): ProviderSession | undefined {
    return this.#sessions.get(id);
  }

  /** Requests that all machines run at once, that may wait for them, and that are being read meanwhile: more would only
   *  take memory until they are refused. */
  get places(): number {
    const rows = this.machines.flatMap((machine) => [...machine.models.keys()].map((build) => rowsOf(machine, build)));
    return rows.reduce((sum, each) => sum + each, 0) + MAX_WAITING_IN_ALL + MAX_BEING_READ;
  }

  /** What was learned, for a request of this shape and beginning. */
  knowledgeFor({ shape, beginnings }: { shape: Shape; beginnings: readonly Beginning[] }): Knowledge {
    return {
      restsUntil: (machine, build) => this.breakers.restsUntil(keyOf(machine), build, shape),
      cachedTokens: (machine, build) => this.prefixes.cachedTokens(machine.id, build, beginnings),
      corrected: (machine, build, promisedMs) => {
        return this.pace.correct(keyOf(machine), build, promisedMs, this.#clock.now());
      },
    };
  }

  /** Something changed that a waiting request may care about. */
  changed(): void {
    this.line.advance();
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
   * Takes the best machine that is free, waiting in the line when all are busy. `candidates` is asked again on every
   * change; when it becomes empty the wait is over too. Looking and taking are one step, so that no room is given to two
   * requests.
   *
   * @returns what `take` made of it; `undefined` when there is no candidate at all.
   * @throws DarkbloomError `over_capacity` when the line is full or the wait was too long; the signal's reason.
   */
  async room<T extends object>(search: Search<T>, signal: AbortSignal): Promise<T | undefined> {
    const { accountId, lane, model, candidates, take } = search;
    let taken: T | undefined;
    const look = (which: 'own' | 'any') => {
      const all = candidates();
      const free = all.find((candidate) => candidate.free && (candidate.own || which === 'any'));
      const session = free && this.#sessions.get(free.machine.id);
      if (free !== undefined && session !== undefined) taken = take(free, session);
      return taken !== undefined || all.length === 0;
    };
    await this.line.wait({ accountId, lane, look, why: () => busyWhy(model, candidates()) }, signal);
    return taken;
  }
}
