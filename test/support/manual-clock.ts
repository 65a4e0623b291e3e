import type { Clock } from '../../src/util/clock.js';

/** 2026-06-21T15:04:05Z */
const START_MS = 1_782_054_245_000;

interface Timer {
  at: number;
  fire: () => void;
}

/** A clock that a test turns by hand: time passes, and timers fire, only when it says so. */
export class ManualClock implements Clock {
  readonly #timers = new Set<Timer>();
  #now = START_MS;

  now(): number {
    return this.#now;
  }

  after(delayMs: number, fire: () => void): Disposable {
    const timer = { at: this.#now + delayMs, fire };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  /** Timers that would fire some day. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Lets time pass; every timer that becomes due fires at its own moment. */
  turn(ms: number): void {
    const end = this.#now + ms;
    for (let timer = this.#firstUntil(end); timer !== undefined; timer = this.#firstUntil(end)) {
      this.#now = Math.max(this.#now, timer.at);
      this.#timers.delete(timer);
      timer.fire();
    }
    this.#now = end;
  }

  /** The machine sleeps: time passes and nothing fires. What became due meanwhile fires late, with the next turn. */
  sleep(ms: number): void {
    this.#now += ms;
  }

  #firstUntil(end: number): Timer | undefined {
    return [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
  }
}
