import type { RequestMessage } from '../runner-protocol/messages.js';

/** News that can wait do not leave more often than this: nobody sees the difference of a hundredth of a second, and each
 *  message wakes the daemon, which takes the runtime's threads off their cores. */
const TELL_EVERY_MS = 10;
/** News wait for the next rest of the runtime's threads if that is not further away than this, by the last step. */
const NEAR_MS = 40;

interface OutboxOptions {
  send: (messages: RequestMessage[]) => void;
  /** The runtime's threads have all the cores: whoever is woken while they compute holds them up. */
  computesOnAllCores: boolean;
  /** Milliseconds of a clock that never goes back. */
  now?: () => number;
}

/**
 * What the loop has to tell, until it leaves. Where the runtime's threads have all the cores, what can wait leaves when
 * they rest next, while the next step's tokens are chosen: the daemon then works on a core that nobody else wants.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #now: () => number;
  #messages: RequestMessage[] = [];
  #urgent = false;
  #sentAt = -Infinity;
  #stepAt = -Infinity;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** A beginning or an end, or an answer's first text: it leaves with the step. */
  put(message: RequestMessage): void {
    this.#messages.push(message);
    this.#urgent = true;
  }

  /** More of an answer: it can wait. */
  putMore(message: RequestMessage): void {
    this.#messages.push(message);
  }

  /** To be called before a step that reads prompts, which may take long. That a request has begun is told after that step
   *  where the daemon would take a core from those who read. */
  beforeReading(): void {
    if (this.#tellsOfAnswers || !this.#options.computesOnAllCores) this.beforeRest();
  }

  /** To be called when there will be nothing to compute for a while. */
  beforeRest(): void {
    if (this.#messages.length > 0) this.send();
  }

  /** To be called after each step: that a step was done is told also when there is nothing else to tell. */
  stepDone(): void {
    const now = this.#now();
    const restIsNear = this.#options.computesOnAllCores && now - this.#stepAt <= NEAR_MS;
    this.#stepAt = now;
    const waits = restIsNear && this.#messages.length > 0;
    if (this.#urgent || (!waits && this.#isDue)) this.send();
  }

  /** To be called in the midst of a step, when a batch is computed and tokens are being chosen. That a request has begun
   *  goes with what the step brings. */
  threadsRest(): void {
    if (this.#tellsOfAnswers && this.#isDue) this.send();
  }

  get #tellsOfAnswers(): boolean {
    return this.#messages.some(({ type }) => type !== 'started');
  }

  get #isDue(): boolean {
    return this.#now() - this.#sentAt >= TELL_EVERY_MS;
  }

  send(): void {
    this.#options.send(this.#messages);
    this.#messages = [];
    this.#urgent = false;
    this.#sentAt = this.#now();
  }
}
