import type { BatchCosts } from './batch-costs.js';

/**
 * Idle rows to be fed along with a token of no meaning, so that a batch is one pass over the model: the runtime computes
 * what lies beyond a gap between rows in a further pass. Pure.
 *
 * `rows`: those that step, in ascending order, each with one token. `lengthOf`: tokens that a row holds. `costs`: absent
 * where a GPU computes; there a row more costs next to nothing, and a pass more as much as the first. On a CPU a gap is
 * filled only where that is known to be faster.
 */
export function idleRowsBetween(
  rows: readonly number[],
  lengthOf: (row: number) => number,
  costs: Pick<BatchCosts, 'expected'> | undefined,
): number[] {
  const [first = 0, last = -1] = [rows[0], rows.at(-1)];
  const span = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  const idle = span.filter((row) => !rows.includes(row));
  if (idle.length === 0 || idle.length > rows.length) return [];
  const deepest = Math.max(...rows.map(lengthOf)); // attention reaches as far back in all rows as in the deepest
  if (idle.some((row) => lengthOf(row) > deepest)) return [];
  if (costs === undefined) return idle;
  const filled = costs.expected(span.length);
  const passes = stretchesOf(rows).map((length) => costs.expected(length) ?? NaN);
  return filled !== undefined && filled < passes.reduce((sum, ms) => sum + ms, 0) ? idle : [];
}

/** How many neighbours each stretch of these rows has. */
function stretchesOf(rows: readonly number[]): number[] {
  const starts = rows.flatMap((row, index) => (row - 1 === rows[index - 1] ? [] : [index]));
  return starts.map((start, index) => (starts[index + 1] ?? rows.length) - start);
}
