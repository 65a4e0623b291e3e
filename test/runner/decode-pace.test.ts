import { describe, expect, test } from 'vitest';
import { batchesOf, paceOf, together } from '../../src/runner/decode-pace.js';
import type { Feed } from '../../src/runner/runtime.js';

describe('the pace of a processor', () => {
  test.each([
    ['a thread less costs nothing: a core is left to others', { one: 6, oneWithThreadLess: 6.2 }, [1, 1]],
    ['a thread less costs time', { one: 6, oneWithThreadLess: 9 }, [2, 1]],
    ['two rows take longer together than one by one', { one: 6, two: 15, three: 18 }, [2, 2]],
    ['three as well', { one: 6, two: 15, three: 21 }, [2, 3]],
    ['three alone do not count', { one: 6, two: 12, three: 21 }, [2, 1]],
    ['together is hardly slower', { one: 6, two: 13, three: 18 }, [2, 1]],
    ['one row goes with a thread less, and so do two', { one: 6, oneWithThreadLess: 6.2, two: 15 }, [1, 2]],
    ['a context of one row', { one: 6 }, [2, 1]],
  ])('%s', (_, times, [threadsForOne, apartUpTo]) => {
    expect(paceOf(times, 2)).toEqual({ threads: 2, threadsForOne, apartUpTo });
  });
});

/** Written `row:tokens`, with a `!` behind one that is computed alone; batches are parted by `|`. */
function batches(feeds: string, apartUpTo: number): string {
  const parsed = feeds.split(' ').map((each): Feed => {
    const [row = 0, tokens = 0] = each.split(/[:!]/u).map(Number);
    const held = Array.from({ length: tokens }, () => 0);
    return { row, position: 0, tokens: held, sampler: undefined, alone: each.endsWith('!') };
  });
  const shown = ({ row, tokens }: Feed) => `${row}:${tokens.length}`;
  return batchesOf(parsed, apartUpTo)
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
  ])('%s', (_, feeds, apartUpTo, expected) => {
    expect(batches(feeds, apartUpTo)).toBe(expected);
  });
});

test('where nothing was measured all rows lie in one batch, on all threads', () => {
  expect(together(8)).toEqual({ threads: 8, threadsForOne: 8, apartUpTo: 1 });
});
