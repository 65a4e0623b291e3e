/** Batches of one shape that are remembered. */
const REMEMBERED = 9;
/** So many of a shape are needed to say what it costs: the first ones also pay for memory that is touched for the
 *  first time. */
const TELLING = 3;
/** Of so many steps one is computed the way that seemed dearer: contexts grow, and other work comes and goes. */
const LOOK_AGAIN_STEPS = 64;
/** Nobody looks again where the other way was so much dearer. */
const HOPELESS = 1.5;

/** A batch of rows with one token each: how many rows each of its stretches of neighbours has. */
export type Shape = readonly number[];

/**
 * What batches cost, learned from those that were computed. On a CPU two rows with one token each may take longer together
 * than one after the other: for one row the runtime has a routine of its own that is bound by the memory alone, and the
 * one for several pays from three rows on (docs/performance.md).
 */
export class BatchCosts {
  /** Milliseconds of the last batches, by shape. */
  readonly #recent = new Map<string, number[]>();
  /** Steps since the way that seemed dearer was tried, by shape. */
  readonly #since = new Map<string, number>();

  /** A batch of this shape took so long. */
  learn(shape: Shape, ms: number): void {
    const recent = this.#recent.get(nameOf(shape)) ?? [];
    recent.push(ms);
    if (recent.length > REMEMBERED) recent.shift();
    this.#recent.set(nameOf(shape), recent);
  }

  /** Milliseconds of a batch of this shape; of one that was not seen with its gaps, what its stretches take. `undefined`: not
   *  known yet. */
  expected(shape: Shape): number | undefined {
    const seen = this.#least(shape);
    if (seen !== undefined || shape.length < 2) return seen;
    const passes = shape.map((rows) => this.#least([rows]));
    return passes.reduce((sum, ms) => (sum === undefined || ms === undefined ? undefined : sum + ms), 0);
  }

  /** Whether the rows of this shape are to be computed one after another in this step. */
  apart(shape: Shape): boolean {
    const rows = shape.reduce((sum, stretch) => sum + stretch, 0);
    if (rows < 2) return false;
    const together = this.expected(shape);
    const single = this.expected([1]);
    if (together === undefined) return false;
    if (single === undefined) return rows === 2; // so that it is known
    const ratio = (rows * single) / together;
    const isBest = ratio < 1;
    const since = (this.#since.get(nameOf(shape)) ?? 0) + 1;
    const looksAgain = since >= LOOK_AGAIN_STEPS && ratio < HOPELESS;
    this.#since.set(nameOf(shape), looksAgain ? 0 : since);
    return looksAgain ? !isBest : isBest;
  }

  /** The shortest of those remembered: whatever holds a batch up, it only ever makes it longer. */
  #least(shape: Shape): number | undefined {
    const recent = this.#recent.get(nameOf(shape));
    return recent === undefined || recent.length < TELLING ? undefined : Math.min(...recent);
  }
}

function nameOf(shape: Shape): string {
  return shape.join('+');
}
