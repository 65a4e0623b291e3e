import type { Clock } from '../util/clock.js';

/** Seconds that are remembered. */
const WINDOW_S = 60;

/** Pieces of answers written in each of the last sixty seconds. */
export class SpeedMeter {
  readonly #clock: Clock;
  readonly #buckets = new Map<number, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  count(): void {
    const second = this.#second();
    this.#buckets.set(second, (this.#buckets.get(second) ?? 0) + 1);
    for (const old of this.#buckets.keys()) if (old <= second - WINDOW_S - 1) this.#buckets.delete(old);
  }

  /** Tokens per second, the oldest first. The second that is not over yet is left out. */
  history(): number[] {
    const now = this.#second();
    return Array.from({ length: WINDOW_S }, (_, index) => this.#buckets.get(now - WINDOW_S + index) ?? 0);
  }

  #second(): number {
    return Math.floor(this.#clock.now() / 1_000);
  }
}
