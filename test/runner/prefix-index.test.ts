import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BLOCK_TOKENS, commonLength, PrefixIndex, type Cached } from '../../src/runner/prefix-index.js';

interface Entry extends Cached {
  tokens: number[];
}

const entry = (scope: string, tokens: readonly number[]): Entry => ({ scope, tokens: [...tokens] });
const count = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

function indexOf(...entries: Entry[]): PrefixIndex<Entry> {
  const index = new PrefixIndex<Entry>();
  for (const each of entries) index.update(each);
  return index;
}

test('finds the longest beginning, to the token', () => {
  const short = entry('a', count(0, 100));
  const long = entry('a', [...count(0, 150), 7, 7, 7]);
  const index = indexOf(short, long);
  expect(index.matches('a', count(0, 300))[0]).toEqual({ entry: long, length: 150 });
  expect(index.matches('a', count(0, 40))[0]?.length).toBe(40);
});

test('never finds what belongs to another scope', () => {
  const index = indexOf(entry('a', count(0, 100)), entry('b', count(0, 100)));
  expect(index.matches('b', count(0, 100)).map(({ entry: { scope } }) => scope)).toEqual(['b']);
  expect(index.matches('c', count(0, 100))).toEqual([]);
  expect(index.matches('', count(0, 100))).toEqual([]);
});

test('does not find less than a block', () => {
  expect(indexOf(entry('a', count(0, BLOCK_TOKENS - 1))).matches('a', count(0, 300))).toEqual([]);
  const index = indexOf(entry('a', count(0, 300)));
  expect(index.matches('a', [...count(0, BLOCK_TOKENS - 1), 9_999, ...count(0, 90)])).toEqual([]);
});

test('follows an entry that grows, is cut, and goes', () => {
  const row = entry('a', count(0, 40));
  const index = indexOf(row);
  row.tokens.push(...count(40, 200));
  index.update(row);
  expect(index.matches('a', count(0, 300))[0]?.length).toBe(200);
  row.tokens.length = 70;
  index.update(row);
  row.tokens.push(5, 5, 5);
  index.update(row);
  expect(index.matches('a', count(0, 300))[0]?.length).toBe(70);
  index.remove(row);
  expect(index.matches('a', count(0, 300))).toEqual([]);
});

test('finds as much as comparing with every entry does, up to the last whole block', () => {
  const tokens = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 0, maxLength: 20 });
  const scope = fc.constantFrom('a', 'b');
  // a few different blocks, so that beginnings are shared
  const stretched = tokens.map((blocks) => blocks.flatMap((block) => count(block * 100, block * 100 + 20)));
  fc.assert(
    fc.property(fc.array(fc.tuple(scope, stretched), { maxLength: 12 }), scope, stretched, (held, wanted, prompt) => {
      const entries = held.map(([each, list]) => entry(each, list));
      const best = Math.max(
        0,
        ...entries.filter((each) => each.scope === wanted).map((each) => commonLength(each.tokens, prompt)),
      );
      const found = indexOf(...entries).matches(wanted, prompt)[0]?.length ?? 0;
      expect(found).toBe(best < BLOCK_TOKENS ? 0 : best);
    }),
  );
});
