import { DarkbloomError } from '../errors.js';

const RETRY_AFTER_S = 3;
const FULL_RETRY_AFTER_S = 30;

/** Counts the requests inside the coordinator, and keeps new ones out while it stops. */
export class Gate {
  #inside = 0;
  #closed = false;
  readonly #idle: (() => void)[] = [];

  /** Lets a request in while fewer than `most` are inside. The returned call says that it has ended; a second time it does
   *  nothing.
   *  @throws DarkbloomError `over_capacity`, for a stop too, as the contract has it. */
  enter(most: number): () => void {
    if (this.#closed) {
      const message = 'The coordinator is stopping; it finishes what runs and takes nothing new.';
      throw new DarkbloomError('over_capacity', message, { retryAfterS: RETRY_AFTER_S });
    }
    if (this.#inside >= most) {
      const message = `The coordinator has ${this.#inside} requests in hand, the most that it takes for its machines.`;
      throw new DarkbloomError('over_capacity', message, { retryAfterS: FULL_RETRY_AFTER_S });
    }
    this.#inside++;
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#inside--;
      if (this.#inside === 0) for (const resolve of this.#idle.splice(0)) resolve();
    };
  }

  get closed(): boolean {
    return this.#closed;
  }

  get inside(): number {
    return this.#inside;
  }

  close(): void {
    this.#closed = true;
  }

  /** Resolves when nothing is inside. */
  idle(): Promise<void> {
    return this.#inside === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}
