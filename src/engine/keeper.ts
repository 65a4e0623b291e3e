import type { Log } from '../log.js';
import type { Clock } from '../util/clock.js';

/** Before a kept model is tried again; each time in a row twice as long. */
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 300_000;
/** A runner that lived for so long was a good one. */
const GOOD_AFTER_MS = 60_000;

interface KeeperOptions {
  /** The model's id, for the log. */
  model: string;
  load: () => Promise<void>;
  clock: Clock;
  log: Log;
}

/** Keeps one model in memory, for as long as it is not stopped.
 *
 *   loading ──loaded──▶ there ──lost──▶ waiting ──▶ loading
 *      └───────────── failed ─────────────▲
 */
export class Keeper {
  readonly #options: KeeperOptions;
  #retryMs = FIRST_RETRY_MS;
  #retry: Disposable | undefined;
  #stopped = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Loads the model, and tries again when that fails, which is told in the log. */
  async start(): Promise<void> {
    try {
      await this.#options.load();
    } catch (err) {
      this.#again({ err });
    }
  }

  /** The model's process died after so long. */
  lost(livedMs: number): void {
    if (livedMs >= GOOD_AFTER_MS) this.#retryMs = FIRST_RETRY_MS;
    this.#again({ livedMs });
  }

  #again(facts: object): void {
    if (this.#stopped || this.#retry !== undefined) return;
    const { model, clock, log } = this.#options;
    const retryMs = this.#retryMs;
    this.#retryMs = Math.min(2 * retryMs, LONGEST_RETRY_MS);
    log.error({ model, ...facts, retryMs }, 'a model that is to be kept loaded is not');
    this.#retry = clock.after(retryMs, () => {
      this.#retry = undefined;
      void this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.[Symbol.dispose]();
  }
}
