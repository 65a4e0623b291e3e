import { describe, expect, test } from 'vitest';
import { apartUpTo, batchesOf } from '../../src/runner/decode-pace.js';
import type { Feed } from '../../src/runner/runtime.js';

test.each([
  ['two rows take longer together', { one: 6, two: 15, three: 18 }, 2],
  ['three as well', { one: 6, two: 15, three: 21 }, 3],
  ['three alone do not count', { one: 6, two: 12, three: 21 }, 1],
  ['together is hardly slower', { one: 6, two: 13, three: 18 }, 1],
  ['a context of one row', { one: 6 }, 1],
])('rows that are faster one by one: %s', (_, times, rows) => {
  expect(apartUpTo(times)).toBe(rows);
});

/** Written `row:tokens`, with a `!` behind one that is computed alone; batches are parted by `|`. */
function batches(feeds: string, apart: number): string {
  const parsed = feeds.split(' ').map((each): Feed => {
    const [row = 0, tokens = 0] = each.split(/[:!]/u).map(Number);
    const held = Array.from({ length: tokens }, () => 0);
    return { row, position: 0, tokens: held, sampler: undefined, alone: each.endsWith('!') };
  });
  const shown = ({ row, tokens }: Feed) => `${row}:${tokens.length}`;
  return batchesOf(parsed, apart)
    .map((batch) => batch.map(shown).join(' '))
    .join(' | ');
}

describe('the batches of a step', () => {
  test.each([
    ['rows that write lie together', '0:1 1:1 2:1', 1, '0:1 1:1 2:1'],
    ['or apart, where that is faster', '0:1 1:1', 2, '0:1 | 1:1'],
    ['but not more of them than that', '0:1 1:1 2:1', 2, '0:1 1:1 2:1'],
    ['and not beside a prompt', '0:1 1:200', 2, '0:1 1:200'],
    ['a prompt that is always computed the same way has a batch of its own', '0:1 1:200! 2:1', 1, '0:1 2:1 | 1:200'],
    ['its answer has not', '0:1! 1:1!', 1, '0:1 1:1'],
  ])('%s', (_, feeds, apart, expected) => {
    expect(batches(feeds, apart)).toBe(expected);
  });
});
