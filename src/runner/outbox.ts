import type { RequestMessage } from '../runner-protocol/messages.js';

/** What steps wrote waits for the next one's when the last news left less than this ago: nobody sees the difference of a
 *  hundredth of a second, and each message wakes the daemon, which takes the runtime's threads off their cores. */
const TELL_EVERY_MS = 10;

/** What the loop has to tell, until it leaves. */
export class Outbox {
  readonly #send: (messages: RequestMessage[]) => void;
  readonly #now: () => number;
  #messages: RequestMessage[] = [];
  #urgent = false;
  #sentAt = -Infinity;

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(send: (messages: RequestMessage[]) => void, now: () => number = () => performance.now()) {
    this.#send = send;
    this.#now = now;
  }

  /** A beginning or an end, or an answer's first text: it leaves with the step. */
  put(message: RequestMessage): void {
    this.#messages.push(message);
    this.#urgent = true;
  }

  /** More of an answer. */
  putMore(message: RequestMessage): void {
    this.#messages.push(message);
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** To be called after each step. */
  sendIfDue(): void {
    if (this.#urgent || this.#now() - this.#sentAt >= TELL_EVERY_MS) this.send();
  }

  /** Also when there is nothing to tell: that a step was done. */
  send(): void {
    this.#send(this.#messages);
    this.#messages = [];
    this.#urgent = false;
    this.#sentAt = this.#now();
  }
}
