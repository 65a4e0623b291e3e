import { expect, test } from 'vitest';
import { LOOK_PERIOD_MS, longestSilenceMs, SilenceWatch } from '../../src/engine/silence-watch.js';
import { ManualClock } from '../support/manual-clock.js';

const LONGEST_MS = 60_000;

function play() {
  const clock = new ManualClock();
  const seen = { expects: true, tooLong: 0 };
  const watch = new SilenceWatch({
    clock,
    longestMs: LONGEST_MS,
    expects: () => seen.expects,
    tooLong: () => seen.tooLong++,
  });
  return { clock, seen, watch };
}

test('silence is too long only where something is expected, and is told once', () => {
  const { clock, seen } = play();
  seen.expects = false;
  clock.turn(10 * LONGEST_MS);
  seen.expects = true;
  clock.turn(LONGEST_MS - 1);
  expect(seen.tooLong).toBe(0);
  clock.turn(10 * LONGEST_MS);
  expect(seen.tooLong).toBe(1);
  expect(clock.pending).toBe(0);
});

test('whatever is heard begins the count anew', () => {
  const { clock, seen, watch } = play();
  for (let index = 0; index < 10; index++) {
    clock.turn(LONGEST_MS - LOOK_PERIOD_MS);
    watch.heard();
  }
  expect(seen.tooLong).toBe(0);
});

test('the time that the machine slept does not count', () => {
  const { clock, seen } = play();
  clock.turn(LOOK_PERIOD_MS);
  clock.sleep(1_000 * LONGEST_MS);
  clock.turn(LOOK_PERIOD_MS);
  expect(seen.tooLong).toBe(0);
});

test('nobody is watched any more after the end', () => {
  const { clock, watch } = play();
  watch[Symbol.dispose]();
  expect(clock.pending).toBe(0);
});

test('weights that a slow disk reads within one step are waited for', () => {
  expect(longestSilenceMs(0)).toBe(300_000);
  expect(longestSilenceMs(100e9) / 60_000).toBeCloseTo(88.3, 1);
});
