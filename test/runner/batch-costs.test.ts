import { describe, expect, test } from 'vitest';
import { BatchCosts } from '../../src/runner/batch-costs.js';

/** Steps of `rows` rows on a machine where a batch of so many rows takes so long; how each was computed. */
function steps(costs: BatchCosts, rows: number, count: number, ms: (rows: number) => number): ('apart' | 'together')[] {
  return Array.from({ length: count }, () => {
    const apart = costs.apart([rows]);
    if (apart) for (let row = 0; row < rows; row++) costs.learn([1], ms(1));
    else costs.learn([rows], ms(rows));
    return apart ? 'apart' : 'together';
  });
}

const share = (ways: readonly string[], way: string) => ways.filter((each) => each === way).length / ways.length;

describe('batches of one token for each row', () => {
  test('two rows that take longer together than one after the other are computed apart, without being told', () => {
    const costs = new BatchCosts();
    const ways = steps(costs, 2, 500, (rows) => (rows === 1 ? 6 : 15));
    expect(ways.slice(0, 5)).toEqual(['together', 'together', 'together', 'apart', 'apart']);
    expect(share(ways, 'apart')).toBeGreaterThan(0.95);
  });

  test('rows that cost together what one costs stay together, and nobody looks again', () => {
    const costs = new BatchCosts();
    const ways = steps(costs, 2, 500, () => 6);
    expect(ways.filter((way) => way === 'apart')).toHaveLength(2); // so that a single row's cost is known
    expect(steps(costs, 8, 500, () => 6)).not.toContain('apart');
  });

  test('more rows are computed apart only where that is known to be faster', () => {
    const costs = new BatchCosts();
    const ms = (rows: number) => [0, 6, 15, 18.5, 21][rows] ?? NaN;
    steps(costs, 1, 5, ms);
    expect(share(steps(costs, 3, 500, ms), 'apart')).toBeGreaterThan(0.9);
    expect(share(steps(costs, 4, 500, ms), 'together')).toBeGreaterThan(0.9);
  });

  test('what changes is noticed: the other way is tried now and then where it is not hopeless', () => {
    const costs = new BatchCosts();
    const before = steps(costs, 2, 200, (rows) => (rows === 1 ? 6 : 11));
    expect(share(before, 'together')).toBeGreaterThan(0.9);
    const after = steps(costs, 2, 2_000, (rows) => (rows === 1 ? 5 : 11)).slice(-200);
    expect(share(after, 'apart')).toBeGreaterThan(0.9);
  });

  test('a batch that was held up says nothing', () => {
    const costs = new BatchCosts();
    let batches = 0;
    const ms = (rows: number) => (++batches % 4 === 0 ? 300 : rows === 1 ? 6 : 15);
    expect(share(steps(costs, 2, 500, ms).slice(50), 'apart')).toBeGreaterThan(0.9);
  });

  test('the first batch of a size, which touches memory for the first time, says nothing', () => {
    const costs = new BatchCosts();
    const seen = new Set<number>();
    const ms = (rows: number) => (seen.has(rows) ? 4 : (seen.add(rows), 600));
    steps(costs, 1, 10, ms);
    for (const rows of [2, 4, 8]) expect(steps(costs, rows, 100, ms)).not.toContain('apart');
  });

  test('one row is one batch', () => {
    const costs = new BatchCosts();
    expect(steps(costs, 1, 200, () => 6)).not.toContain('apart');
  });

  test('a batch with gaps costs what its stretches cost, until it was seen itself', () => {
    const costs = new BatchCosts();
    steps(costs, 2, 3, () => 14);
    expect(costs.expected([2, 1])).toBeUndefined();
    for (let step = 0; step < 3; step++) costs.learn([1], 6);
    expect(costs.expected([2, 1])).toBe(20);
    expect(costs.expected([3])).toBeUndefined();
    for (let step = 0; step < 3; step++) costs.learn([2, 1], 17);
    expect(costs.expected([2, 1])).toBe(17);
    expect(costs.expected([1, 2])).toBe(20);
  });

  test('rows with gaps between them are computed apart where their passes take longer than each alone', () => {
    const costs = new BatchCosts();
    const ms = (rows: number) => (rows === 1 ? 6 : 14);
    for (const rows of [1, 2]) steps(costs, rows, 4, ms);
    expect(costs.apart([2, 2])).toBe(true);
    expect(costs.apart([1, 1])).toBe(false);
  });
});
