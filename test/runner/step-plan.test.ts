import { describe, expect, test } from 'vitest';
import { CHUNK_TOKENS, READ_TOKENS, readingShares } from '../../src/runner/step-plan.js';

/** Written `id:left@lastStep`, with a `!` behind one that is cut the same way whatever else runs. */
function shares(reading: string, someoneWrites = true): string {
  const parsed = reading
    .split(' ')
    .filter((each) => each !== '')
    .map((each) => {
      const [id = 0, left = 0, lastStep = 0] = each.split(/[:@!]/u).map(Number);
      return { id, left, lastStep, alone: each.endsWith('!') };
    });
  return [...readingShares(parsed, someoneWrites)].map(([id, tokens]) => `${id}:${tokens}`).join(' ');
}

describe('the prompt tokens of one step', () => {
  test.each([
    ['nobody reads', '', ''],
    ['a short prompt is read at once', '1:90@0', '1:90'],
    ['a long prompt is read in chunks', '1:5000@0', '1:256'],
    ['two chunks fit', '1:5000@0 2:5000@0 3:5000@0', '1:256 2:256'],
    ['short prompts share a step', '1:100@0 2:100@0 3:100@0', '1:100 2:100 3:100'],
    ['a chunk that does not fit whole waits', '1:256@0 2:200@0 3:100@0 4:50@0', '1:256 2:200 4:50'],
    ['who waited longest comes first', '1:900@7 2:900@5 3:900@6', '2:256 3:256'],
    ['who just got a row comes behind who waited longer', '1:900@4 2:300@5 3:10@5', '1:256 2:256'],
    ['of those that waited equally long, the older request', '4:256@2 3:256@2 2:256@2', '4:256 3:256'],
  ])('%s', (_, reading, expected) => {
    expect(shares(reading)).toBe(expected);
  });

  test('are as many as a step takes where a prompt holds nobody up, unless it is always cut the same way', () => {
    expect(shares('1:5000@0', false)).toBe('1:512');
    expect(shares('1:300@0', false)).toBe('1:300');
    expect(shares('1:5000@0!', false)).toBe('1:256');
    expect(shares('1:5000@0 2:5000@0', false)).toBe('1:256 2:256');
  });

  test('are bounded, for one prompt and for all together', () => {
    const many = Array.from({ length: 64 }, (_, id) => ({ id, left: 7 + id * 31, lastStep: 0, alone: false }));
    const given = [...readingShares(many, true).values()];
    expect(given.reduce((sum, tokens) => sum + tokens, 0)).toBeLessThanOrEqual(READ_TOKENS);
    expect(Math.max(...given)).toBeLessThanOrEqual(CHUNK_TOKENS);
  });

  test('reach every prompt in turn: long ones hold no other up', () => {
    const left = new Map([
      [1, 1_024],
      [2, 1_024],
      [3, 1_024],
      [4, 100],
    ]);
    const lastStep = new Map<number, number>();
    const steps: number[][] = [];
    for (let step = 1; [...left.values()].some((tokens) => tokens > 0); step++) {
      const reading = [...left].filter(([, tokens]) => tokens > 0);
      const given = readingShares(
        reading.map(([id, tokens]) => ({ id, left: tokens, lastStep: lastStep.get(id) ?? 0, alone: false })),
        true,
      );
      for (const [id, tokens] of given) {
        left.set(id, (left.get(id) ?? 0) - tokens);
        lastStep.set(id, step);
      }
      steps.push([...given.keys()]);
    }
    expect(steps).toEqual([[1, 2], [3, 4], [1, 2], [3, 1], [2, 1], [3, 2], [3]]);
  });

  test('reach a long prompt however many short ones come behind it', () => {
    const ROWS = 8;
    const long = { id: 0, left: 10_000, lastStep: 0, alone: false };
    let waited = 0;
    let longestWait = 0;
    let reading = [long];
    for (let step = 1, nextId = 1; long.left > 0; step++) {
      while (reading.length < ROWS)
        reading.push({ id: nextId++, left: CHUNK_TOKENS, lastStep: step - 1, alone: false });
      const given = readingShares(reading, true);
      waited = given.has(long.id) ? 0 : waited + 1;
      longestWait = Math.max(longestWait, waited);
      for (const each of reading) {
        each.left -= given.get(each.id) ?? 0;
        if (given.has(each.id)) each.lastStep = step;
      }
      reading = reading.filter(({ left }) => left > 0);
    }
    expect(longestWait).toBeLessThan(Math.ceil((ROWS * CHUNK_TOKENS) / READ_TOKENS));
  });
});
