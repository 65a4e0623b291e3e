/** Batches of one size that are remembered. */
const REMEMBERED = 9;
/** So many of a size are needed to say what it costs: the first ones also pay for memory that is touched for the
 *  first time. */
const TELLING = 3;
/** Of so many steps one is computed the way that seemed dearer: contexts grow, and other work comes and goes. */
const LOOK_AGAIN_STEPS = 64;
/** Nobody looks again where the other way was so much dearer. */
const HOPELESS = 1.5;

/**
 * What batches cost, learned from those that were computed. On a CPU two rows with one token each may take longer together
 * than one after the other: for one row the runtime has a routine of its own that is bound by the memory alone, and the
 * one for several pays from three rows on (docs/performance.md). On a GPU rows together cost what one costs, and
 * nobody asks.
 */
export class BatchCosts {
  /** Milliseconds of the last batches, by how many rows with one token each they had. */
  readonly #recent = new Map<number, number[]>();
  /** Steps since the way that seemed dearer was tried, by rows. */
  readonly #since = new Map<number, number>();

  /** A batch of so many neighbouring rows, each with one token, took so long. */
  learn(rows: number, ms: number): void {
    const recent = this.#recent.get(rows) ?? [];
    recent.push(ms);
    if (recent.length > REMEMBERED) recent.shift();
    this.#recent.set(rows, recent);
  }

  /** Whether so many rows, each with one token, are to be computed one after another in this step. */
  apart(rows: number): boolean {
    if (rows < 2) return false;
    const together = this.expected(rows);
    const single = this.expected(1);
    if (together === undefined) return false;
    if (single === undefined) return rows === 2; // so that it is known
    const ratio = (rows * single) / together;
    const isBest = ratio < 1;
    const since = (this.#since.get(rows) ?? 0) + 1;
    const looksAgain = since >= LOOK_AGAIN_STEPS && ratio < HOPELESS;
    this.#since.set(rows, looksAgain ? 0 : since);
    return looksAgain ? !isBest : isBest;
  }

  /** Milliseconds of a batch of so many rows: the shortest of those remembered, for whatever holds a batch up, it only
   *  ever makes it longer. `undefined`: not known yet. */
  expected(rows: number): number | undefined {
    const recent = this.#recent.get(rows);
    return recent === undefined || recent.length < TELLING ? undefined : Math.min(...recent);
  }
}
