import { every, type Clock } from '../util/clock.js';

/** A runner tells of every part of a load, every batch and every text that it has done. The longest batch on the slowest
 *  machine takes a minute or two. */
const SILENCE_MS = 5 * 60_000;
/** Weights that are mapped are read when they are first used, all of them within one batch: from a disk as slow as this. */
const SLOWEST_DISK_BYTES_PER_S = 20_000_000;
/** Time is counted in looks: a machine that slept for hours has made nobody wait. */
export const LOOK_PERIOD_MS = 10_000;

/** How long a runner may be silent while something is expected of it; after that it hangs. */
export function longestSilenceMs(weightBytes: number): number {
  return SILENCE_MS + (weightBytes / SLOWEST_DISK_BYTES_PER_S) * 1_000;
}

interface WatchOptions {
  clock: Clock;
  longestMs: number;
  /** Whether the other side has something to do now. */
  expects: () => boolean;
  /** Called once. */
  tooLong: () => void;
}

/** Notices when the other side neither works nor ends. */
export class SilenceWatch implements Disposable {
  readonly #looks: Disposable;
  #silentMs = 0;

  constructor({ clock, longestMs, expects, tooLong }: WatchOptions) {
    this.#looks = every(clock, LOOK_PERIOD_MS, () => {
      this.#silentMs = expects() ? this.#silentMs + LOOK_PERIOD_MS : 0;
      if (this.#silentMs < longestMs) return;
      this.#looks[Symbol.dispose]();
      tooLong();
    });
  }

  /** Something was heard. */
  heard(): void {
    this.#silentMs = 0;
  }

  [Symbol.dispose](): void {
    this.#looks[Symbol.dispose]();
  }
}
