import { expect, test } from 'vitest';
import { Checkpoints } from '../../src/runner/checkpoints.js';
import { Saved } from '../support/saved-rows.js';

const MEMORY = { bytes: 250, bytesPerRow: 100, bytesPerToken: 0 };
const tokens = (length: number) => Array.from({ length }, (_, index) => index);

test('hold no more bytes than they may, and what was not asked for the longest goes first', () => {
  const checkpoints = new Checkpoints(MEMORY);
  const [first, second, third] = [new Saved(100), new Saved(100), new Saved(100)];
  checkpoints.put({ scope: 'a', tokens: tokens(10) }, first);
  checkpoints.put({ scope: 'a', tokens: tokens(20) }, second);
  const [shortest] = checkpoints.within('a', tokens(30));
  if (shortest !== undefined) checkpoints.touch(shortest);
  checkpoints.put({ scope: 'a', tokens: tokens(30) }, third);
  expect([first.disposed, second.disposed, third.disposed, checkpoints.bytes]).toEqual([false, true, false, 200]);
});

test('are found in whole, for their scope alone', () => {
  const checkpoints = new Checkpoints(MEMORY);
  checkpoints.put({ scope: 'a', tokens: tokens(20) }, new Saved(100));
  checkpoints.put({ scope: 'a', tokens: tokens(10) }, new Saved(100));
  const lengths = (scope: string, length: number) =>
    checkpoints.within(scope, tokens(length)).map((each) => each.tokens.length);
  expect([lengths('a', 20), lengths('a', 19), lengths('a', 9), lengths('b', 20)]).toEqual([[10, 20], [10], [], []]);
});

test('are let go of once no row holds their tokens', () => {
  const checkpoints = new Checkpoints(MEMORY);
  const [short, long] = [new Saved(100), new Saved(100)];
  checkpoints.put({ scope: 'a', tokens: tokens(10) }, short);
  checkpoints.put({ scope: 'a', tokens: tokens(20) }, long);
  checkpoints.keepOnlyFor([
    { scope: 'a', tokens: tokens(15) },
    { scope: 'b', tokens: tokens(30) },
  ]);
  expect([short.disposed, long.disposed, checkpoints.bytes]).toEqual([false, true, 100]);
});

test('that are too large are not taken, and asked for beforehand', () => {
  const checkpoints = new Checkpoints(MEMORY);
  const large = new Saved(251);
  checkpoints.put({ scope: 'a', tokens: tokens(10) }, large);
  expect([large.disposed, checkpoints.bytes]).toEqual([true, 0]);
  expect([checkpoints.fits, new Checkpoints({ ...MEMORY, bytesPerRow: 251 }).fits, new Checkpoints().fits]).toEqual([
    true,
    false,
    false,
  ]);
});
