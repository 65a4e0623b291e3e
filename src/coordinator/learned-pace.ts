/** What one answer says of all, when the next is expected. */
const WEIGHT = 0.3;
/** No single answer makes a machine look more than so many times slower or faster than it says. */
const MAX_RATIO = 8;
/** What was learned counts half after so long: a machine that was slow once is tried again. */
const HALF_LIFE_MS = 300_000;
/** Models on machines that something is remembered of; the oldest is forgotten. */
const MAX_REMEMBERED = 1_000;

/** How much longer machines really take to a first token than they promise. */
export class LearnedPace {
  /** Natural logarithms of seen to promised. */
  readonly #ratios = new Map<string, { log: number; at: number }>();

  /** A promise, corrected by how such promises were kept. Milliseconds. */
  correct(machine: string, build: string, promisedMs: number, now: number): number {
    return promisedMs * Math.exp(this.#log(machine, build, now));
  }

  /** An answer began after `seenMs` where `promisedMs` had been promised. */
  saw(
    machine: string,
    build: string,
    { promisedMs, seenMs }: { promisedMs: number; seenMs: number },
    now: number,
  ): void {
    const bound = Math.log(MAX_RATIO);
    const seen = Math.log(Math.max(1, seenMs) / Math.max(1, promisedMs));
    const log = (1 - WEIGHT) * this.#log(machine, build, now) + WEIGHT * Math.min(bound, Math.max(-bound, seen));
    const key = `${machine} ${build}`;
    this.#ratios.delete(key);
    this.#ratios.set(key, { log, at: now });
    const [oldest] = this.#ratios.keys();
    if (this.#ratios.size > MAX_REMEMBERED && oldest !== undefined) this.#ratios.delete(oldest);
  }

  #log(machine: string, build: string, now: number): number {
    const learned = this.#ratios.get(`${machine} ${build}`);
    return learned === undefined ? 0 : learned.log * 0.5 ** ((now - learned.at) / HALF_LIFE_MS);
  }
}
