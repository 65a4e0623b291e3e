import type { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import type { ErrorStatus } from './status.js';

const KEPT = 10;

/** The last few errors that requests ended with: code and our own words, never content. */
export class RecentErrors {
  readonly #clock: Clock;
  readonly #errors: ErrorStatus[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add({ code, message }: DarkbloomError): void {
    this.#errors.unshift({ at: new Date(this.#clock.now()).toISOString(), code, message });
    this.#errors.splice(KEPT);
  }

  /** Newest first. */
  get list(): readonly ErrorStatus[] {
    return this.#errors;
  }
}
