import { describe, expect, test } from 'vitest';
import { CHUNK_TOKENS, READ_BESIDE_WRITERS, readingShares, STEP_TOKENS } from '../../src/runner/step-plan.js';

/** `[id, left, lastStep]` */
type Short = readonly [number, number, number];

function shares(reading: readonly Short[], writers: number): [number, number][] {
  return [
    ...readingShares(
      reading.map(([id, left, lastStep]) => ({ id, left, lastStep })),
      writers,
    ),
  ];
}

describe('the prompt tokens of one step', () => {
  test.each<[string, Short[], number, [number, number][]]>([
    ['nobody reads', [], 3, []],
    ['a short prompt is read at once', [[1, 90, 0]], 3, [[1, 90]]],
    ['a long prompt is read in chunks', [[1, 5_000, 0]], 0, [[1, CHUNK_TOKENS]]],
    [
      'two chunks fit when nobody writes',
      [
        [1, 5_000, 0],
        [2, 5_000, 0],
      ],
      0,
      [
        [1, 256],
        [2, 256],
      ],
    ],
    [
      'one chunk fits beside writers',
      [
        [1, 5_000, 0],
        [2, 5_000, 0],
      ],
      1,
      [[1, 256]],
    ],
    [
      'short prompts share a step',
      [
        [1, 100, 0],
        [2, 100, 0],
        [3, 100, 0],
      ],
      1,
      [
        [1, 100],
        [2, 100],
      ],
    ],
    [
      'a chunk that does not fit whole waits',
      [
        [1, 200, 0],
        [2, 100, 0],
        [3, 50, 0],
      ],
      1,
      [
        [1, 200],
        [3, 50],
      ],
    ],
    [
      'who waited longest comes first',
      [
        [1, 900, 7],
        [2, 900, 5],
        [3, 900, 6],
      ],
      1,
      [[2, 256]],
    ],
    [
      'who never had a turn comes first',
      [
        [1, 900, 1],
        [2, 10, 0],
      ],
      1,
      [[2, 10]],
    ],
    [
      'of those that waited equally long, the older one',
      [
        [4, 256, 2],
        [3, 256, 2],
      ],
      1,
      [[4, 256]],
    ],
  ])('%s', (_, reading, writers, expected) => {
    expect(shares(reading, writers)).toEqual(expected);
  });

  test('are bounded, however many wait', () => {
    const many: Short[] = Array.from({ length: 64 }, (_, id) => [id, 7 + id * 31, 0]);
    const sum = (writers: number) => shares(many, writers).reduce((total, [, tokens]) => total + tokens, 0);
    expect(sum(0)).toBeLessThanOrEqual(STEP_TOKENS);
    expect(sum(8)).toBeLessThanOrEqual(READ_BESIDE_WRITERS);
  });

  test('reach every prompt in turn: a long one holds no short one up for more than a step', () => {
    const left = new Map([
      [1, 2_000],
      [2, 2_000],
      [3, 100],
    ]);
    const lastStep = new Map<number, number>();
    const order: number[] = [];
    for (let step = 1; [...left.values()].some((tokens) => tokens > 0); step++) {
      const reading = [...left].filter(([, tokens]) => tokens > 0);
      for (const [id, tokens] of shares(
        reading.map(([id, tokens]) => [id, tokens, lastStep.get(id) ?? 0]),
        1,
      )) {
        left.set(id, (left.get(id) ?? 0) - tokens);
        lastStep.set(id, step);
        order.push(id);
      }
    }
    expect(order).toEqual([1, 2, 3, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
  });
});
