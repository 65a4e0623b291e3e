import { DarkbloomError } from '../errors.js';

/** Requests that may wait for each row of a model. A coordinator that keeps to `max_concurrency` never fills the line;
 *  what waits here is told in the heartbeat as `num_waiting`. */
export const WAITING_PER_ROW = 16;

/** Who is kept from the rows for now, because another model waits for this one's memory. */
export type Hold = 'none' | 'strangers' | 'all';

interface Waiter {
  owner: boolean;
  enter: () => void;
  /** Another takes its place. */
  displace: () => void;
}

interface AdmissionOptions {
  rows: number;
  /** The model's name, for errors. */
  model: string;
  /** When a row is probably free, seconds. */
  retryAfterS: () => number;
}

/** Who may use the rows of one model. The owner's requests go before others; within each, first come first served. */
export class Admission {
  readonly #options: AdmissionOptions;
  /** The owner's first. */
  readonly #waiting: Waiter[] = [];
  #running = 0;
  #hold: Hold = 'none';

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Longest line. */
  get bound(): number {
    return this.#options.rows * WAITING_PER_ROW;
  }

  /** @throws DarkbloomError `over_capacity` when the line is full; for the owner only when it is full of the owner's. */
  check(owner: boolean): void {
    const { length } = this.#waiting;
    if (length < this.bound || (owner && this.#waiting.at(-1)?.owner === false)) return;
    throw this.#full();
  }

  /** Waits for a row, after `check`. Resolves to the call that gives it back, or to `undefined` when aborted first.
   *  @throws DarkbloomError `over_capacity`, rejecting, when the owner's request took the place in a full line. */
  enter(owner: boolean, signal: AbortSignal): Promise<(() => void) | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal.removeEventListener('abort', onAbort);
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      };
      const onAbort = () => {
        leave();
        resolve(undefined);
      };
      const enter = () => {
        leave();
        resolve(this.#take());
      };
      const displace = () => {
        leave();
        reject(this.#full());
      };
      const waiter: Waiter = { owner, enter, displace };
      if (this.#waiting.length >= this.bound) this.#waiting.at(-1)?.displace();
      const firstStranger = this.#waiting.findIndex((other) => !other.owner);
      this.#waiting.splice(owner && firstStranger >= 0 ? firstStranger : this.#waiting.length, 0, waiter);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#admit();
    });
  }

  /** Keeps some or all from the rows, or lets them in again. What runs goes on. */
  hold(hold: Hold): void {
    this.#hold = hold;
    this.#admit();
  }

  #admit(): void {
    while (this.#running < this.#options.rows) {
      const [first] = this.#waiting; // with strangers held, a stranger at the head has none of the owner's behind it
      if (first === undefined || this.#hold === 'all' || (this.#hold === 'strangers' && !first.owner)) return;
      first.enter();
    }
  }

  #take(): () => void {
    this.#running++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#running--;
      this.#admit();
    };
  }

  #full(): DarkbloomError {
    const { rows, model, retryAfterS } = this.#options;
    return new DarkbloomError(
      'over_capacity',
      `queue full: all ${rows} slots of ${model} are busy and ${this.bound} requests wait, the most that may.`,
      { retryAfterS: retryAfterS() },
    );
  }
}
