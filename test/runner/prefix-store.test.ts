import { expect, test } from 'vitest';
import type { SavedRow } from '../../src/runner/runtime.js';
import { PrefixStore } from '../../src/runner/prefix-store.js';

const tokens = (first: number, length = 100) => Array.from({ length }, (_, index) => first + index);

class Saved implements SavedRow {
  disposed = false;
  constructor(readonly bytes: number) {}
  dispose(): void {
    this.disposed = true;
  }
  restore = async () => !this.disposed;
}

test('holds no more bytes than it may, and lets go of what was not asked for the longest', () => {
  const store = new PrefixStore(250);
  const [first, second, third] = [new Saved(100), new Saved(100), new Saved(100)];
  store.put({ scope: 'a', tokens: tokens(1_000) }, first);
  store.put({ scope: 'a', tokens: tokens(2_000) }, second);
  expect(store.longest('a', tokens(1_000))?.length).toBe(100);
  store.put({ scope: 'a', tokens: tokens(3_000) }, third);
  expect(store.bytes).toBe(200);
  expect([first.disposed, second.disposed, third.disposed]).toEqual([false, true, false]);
  expect(store.longest('a', tokens(2_000))).toBeUndefined();
});

test('does not take what is larger than all of it, and keeps the rest then', () => {
  const store = new PrefixStore(250);
  const [small, large] = [new Saved(100), new Saved(251)];
  store.put({ scope: 'a', tokens: tokens(1_000) }, small);
  store.put({ scope: 'a', tokens: tokens(2_000) }, large);
  expect([small.disposed, large.disposed, store.bytes]).toEqual([false, true, 100]);
});

test('lets go of a beginning once the whole is there', () => {
  const store = new PrefixStore(1_000);
  const [beginning, whole] = [new Saved(100), new Saved(200)];
  store.put({ scope: 'a', tokens: tokens(0, 100) }, beginning);
  store.put({ scope: 'a', tokens: tokens(0, 200) }, whole);
  expect([beginning.disposed, store.bytes]).toEqual([true, 200]);
  expect(store.holds({ scope: 'a', tokens: tokens(0, 150) })).toBe(true);
  expect(store.holds({ scope: 'b', tokens: tokens(0, 150) })).toBe(false);
});
