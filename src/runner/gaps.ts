import type { BatchCosts } from './batch-costs.js';

/** Rows that step together and have others between them. The runtime computes each stretch of neighbours in a pass of its
 *  own over the model. Pure. */

/** How many rows each stretch of neighbours among these has, from the lowest on. */
export function stretchesOf(rows: readonly number[]): number[] {
  const ascending = [...rows].sort((a, b) => a - b);
  const starts = ascending.flatMap((row, index) => (row - 1 === ascending[index - 1] ? [] : [index]));
  return starts.map((start, index) => (starts[index + 1] ?? ascending.length) - start);
}

/**
 * The rows between these that are to be fed along with a token of no meaning, so that the step is one pass: all of them
 * where that is known to be faster, otherwise none. Each of `rows` adds one token to the `lengthOf(row)` that it holds. None
 * that is fed along is deeper than all of these: so it has room for a token, and costs no more than one of them.
 */
export function rowsToFill(
  rows: readonly number[],
  lengthOf: (row: number) => number,
  costs: Pick<BatchCosts, 'expected'>,
): number[] {
  const stretches = stretchesOf(rows);
  if (stretches.length < 2) return [];
  const first = Math.min(...rows);
  const span = Array.from({ length: Math.max(...rows) - first + 1 }, (_, index) => first + index);
  const between = span.filter((row) => !rows.includes(row));
  const deepest = Math.max(...rows.map(lengthOf));
  if (between.some((row) => lengthOf(row) > deepest)) return [];
  const [filled, open] = [costs.expected([span.length]), costs.expected(stretches)];
  return filled !== undefined && open !== undefined && filled < open ? between : [];
}
