import { DarkbloomError } from '../errors.js';

/** Requests of one model that may wait for a row. */
const MAX_WAITING = 64;
const RETRY_AFTER_S = 2;

interface Waiter {
  owner: boolean;
  enter: () => void;
}

/** Who may use the rows of one model. The owner's requests wait before others; within each, first come first served. */
export class Admission {
  readonly #rows: number;
  readonly #waiting: Waiter[] = [];
  #running = 0;

  constructor(rows: number) {
    this.#rows = rows;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** @throws DarkbloomError `over_capacity` when the waiting line is full. */
  check(model: string): void {
    if (this.#waiting.length < MAX_WAITING) return;
    throw new DarkbloomError(
      'over_capacity',
      `queue full: all ${this.#rows} slots of ${model} are busy and ${this.#waiting.length} requests wait.`,
      { retryAfterS: RETRY_AFTER_S },
    );
  }

  /** Waits for a row. Resolves to the call that gives it back, or to `undefined` when aborted first. */
  enter(owner: boolean, signal: AbortSignal): Promise<(() => void) | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    if (this.#running < this.#rows) return Promise.resolve(this.#take());
    return new Promise((resolve) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        resolve(undefined);
      };
      const enter = () => {
        signal.removeEventListener('abort', onAbort);
        resolve(this.#take());
      };
      const waiter = { owner, enter };
      const firstStranger = this.#waiting.findIndex((other) => !other.owner);
      this.#waiting.splice(owner && firstStranger >= 0 ? firstStranger : this.#waiting.length, 0, waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #take(): () => void {
    this.#running++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#running--;
      this.#waiting.shift()?.enter();
    };
  }
}
