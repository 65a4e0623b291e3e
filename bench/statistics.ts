import { seeded } from './seeded.js';

/** Of an empty list: NaN. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [below = NaN, above = below] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return below + (above - below) * (at - Math.floor(at));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** A median with the least and the greatest value. */
export interface Spread {
  median: number;
  low: number;
  high: number;
  count: number;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), low: Math.min(...values), high: Math.max(...values), count: values.length };
}

const RESAMPLES = 2_000;
/** Of the interval: 5 % lie below it and 5 % above. */
const TAIL = 0.05;

/** The median of pairs, with the 90 % bootstrap interval of that median. With fewer than five pairs the interval is not
 *  much narrower than the range. */
export function medianInterval(values: readonly number[]): Spread {
  const random = seeded(values.length);
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)] ?? NaN)),
  );
  return {
    median: median(values),
    low: quantile(medians, TAIL),
    high: quantile(medians, 1 - TAIL),
    count: values.length,
  };
}

/** `ours[i] ÷ theirs[i]`: both of the same repeat, so that what slowed the machine then slowed both. */
export function pairedRatios(ours: readonly number[], theirs: readonly number[]): number[] {
  return paired(ours, theirs, (our, their) => our / their);
}

export function pairedDifferences(ours: readonly number[], theirs: readonly number[]): number[] {
  return paired(ours, theirs, (our, their) => our - their);
}

function paired(
  ours: readonly number[],
  theirs: readonly number[],
  combine: (our: number, their: number) => number,
): number[] {
  if (ours.length !== theirs.length) throw new RangeError(`${ours.length} values cannot pair with ${theirs.length}.`);
  return ours.map((our, index) => combine(our, theirs[index] ?? NaN));
}

/** Slope of the line nearest to the points, per unit of x. */
export function slope(points: readonly { x: number; y: number }[]): number {
  const mean = (of: (point: { x: number; y: number }) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [meanX, meanY] = [mean(({ x }) => x), mean(({ y }) => y)];
  const covariance = mean(({ x, y }) => (x - meanX) * (y - meanY));
  return covariance / mean(({ x }) => (x - meanX) ** 2);
}
