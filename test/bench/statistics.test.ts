import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  median,
  medianInterval,
  pairedDifferences,
  pairedRatios,
  quantile,
  slope,
  spread,
} from '../../bench/statistics.js';

test.each([
  [[3], 0.5, 3],
  [[1, 3], 0.5, 2],
  [[4, 1, 3, 2], 0.5, 2.5],
  [[1, 2, 3, 4, 5], 0.95, 4.8],
  [[5, 1], 0, 1],
  [[5, 1], 1, 5],
])('of %j the quantile %d is %d', (values, share, expected) => {
  expect(quantile(values, share)).toBeCloseTo(expected, 10);
});

test('of nothing there is no median', () => {
  expect(median([])).toBeNaN();
});

test('a spread names the least and the greatest', () => {
  expect(spread([4, 9, 5])).toEqual({ median: 5, low: 4, high: 9, count: 3 });
});

test('the interval of a median lies within the values and around the median, and is the same every time', () => {
  const values = fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(values, (sample) => {
      const interval = medianInterval(sample);
      expect(interval.low).toBeGreaterThanOrEqual(Math.min(...sample));
      expect(interval.high).toBeLessThanOrEqual(Math.max(...sample));
      expect(interval.low).toBeLessThanOrEqual(interval.median);
      expect(interval.high).toBeGreaterThanOrEqual(interval.median);
      expect(medianInterval(sample)).toEqual(interval);
    }),
    { numRuns: 20 },
  );
});

test('more pairs make the interval narrower', () => {
  const values = (count: number) => Array.from({ length: count }, (_, index) => 1 + (index % 5) / 10);
  const width = ({ low, high }: { low: number; high: number }) => high - low;
  expect(width(medianInterval(values(50)))).toBeLessThan(width(medianInterval(values(5))));
});

test('pairs belong to one repeat: what slowed both leaves the ratio as it is', () => {
  expect(pairedRatios([100, 50, 200], [200, 100, 400])).toEqual([0.5, 0.5, 0.5]);
  expect(pairedDifferences([12, 15], [10, 11])).toEqual([2, 4]);
  expect(() => pairedRatios([1], [1, 2])).toThrow('1 values cannot pair with 2');
});

test('the slope of a line is its own, and noise around a level has none', () => {
  const line = [0, 1, 2, 3].map((x) => ({ x, y: 7 + 3 * x }));
  expect(slope(line)).toBeCloseTo(3, 10);
  expect(slope([1, 2, 2, 1].map((y, x) => ({ x, y })))).toBeCloseTo(0, 10);
});
