import { expect, test } from 'vitest';
import { PrefixStore } from '../../src/runner/prefix-store.js';
import { Saved } from '../support/saved-rows.js';

const tokens = (first: number, length = 100) => Array.from({ length }, (_, index) => first + index);

test('holds no more bytes than it may, and lets go of what was not asked for the longest', () => {
  const store = new PrefixStore({ bytes: 250, bytesPerRow: 0, bytesPerToken: 1 });
  const [first, second, third] = [new Saved(100), new Saved(100), new Saved(100)];
  store.put({ scope: 'a', tokens: tokens(1_000) }, first);
  store.put({ scope: 'a', tokens: tokens(2_000) }, second);
  const match = store.longest('a', tokens(1_000));
  expect(match?.length).toBe(100);
  if (match !== undefined) store.touch(match.entry);
  store.put({ scope: 'a', tokens: tokens(3_000) }, third);
  expect(store.bytes).toBe(200);
  expect([first.disposed, second.disposed, third.disposed]).toEqual([false, true, false]);
  expect(store.longest('a', tokens(2_000))).toBeUndefined();
});

test('takes a look for no use: what was only looked up goes in its turn', () => {
  const store = new PrefixStore({ bytes: 250, bytesPerRow: 0, bytesPerToken: 1 });
  const [first, second] = [new Saved(100), new Saved(100)];
  store.put({ scope: 'a', tokens: tokens(1_000) }, first);
  store.put({ scope: 'a', tokens: tokens(2_000) }, second);
  expect(store.longest('a', tokens(1_000))?.length).toBe(100);
  store.put({ scope: 'a', tokens: tokens(3_000) }, new Saved(100));
  expect([first.disposed, second.disposed]).toEqual([true, false]);
});

test('says what has room before it is copied out', () => {
  const store = new PrefixStore({ bytes: 250, bytesPerRow: 0, bytesPerToken: 2 });
  expect([store.fits(125), store.fits(126)]).toEqual([true, false]);
  expect(new PrefixStore().fits(0)).toBe(false);
});

test('does not take what is larger than all of it, and keeps the rest then', () => {
  const store = new PrefixStore({ bytes: 250, bytesPerRow: 0, bytesPerToken: 1 });
  const [small, large] = [new Saved(100), new Saved(251)];
  store.put({ scope: 'a', tokens: tokens(1_000) }, small);
  store.put({ scope: 'a', tokens: tokens(2_000) }, large);
  expect([small.disposed, large.disposed, store.bytes]).toEqual([false, true, 100]);
});

test('lets go of a beginning once the whole is there', () => {
  const store = new PrefixStore({ bytes: 1_000, bytesPerRow: 0, bytesPerToken: 1 });
  const [beginning, whole] = [new Saved(100), new Saved(200)];
  store.put({ scope: 'a', tokens: tokens(0, 100) }, beginning);
  store.put({ scope: 'a', tokens: tokens(0, 200) }, whole);
  expect([beginning.disposed, store.bytes]).toEqual([true, 200]);
  expect(store.holds({ scope: 'a', tokens: tokens(0, 150) })).toBe(true);
  expect(store.holds({ scope: 'b', tokens: tokens(0, 150) })).toBe(false);
});
