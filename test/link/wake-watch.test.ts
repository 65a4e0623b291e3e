import { expect, test, vi } from 'vitest';
import { watchWakes } from '../../src/link/wake-watch.js';
import { ManualClock } from '../support/manual-clock.js';

const PERIOD_MS = 10_000;

/** A watch of a machine that sleeps as the test says. `says`: whether the system tells when it woke up. */
function watched({ says }: { says: boolean }) {
  const clock = new ManualClock();
  const woke = vi.fn();
  let wokeAt: number | undefined;
  const wakeTime = vi.fn(() => Promise.resolve(says ? wokeAt : undefined));
  const watch = watchWakes({ clock, wakeTime, woke });
  return {
    clock,
    woke,
    wakeTime,
    watch,
    /** Time passes without timers, and the system calls it a sleep or does not. */
    stall: async (ms: number, slept: boolean) => {
      clock.sleep(ms);
      if (slept) wokeAt = clock.now();
      clock.turn(0);
      await Promise.resolve(wakeTime.mock.results.at(-1)?.value);
      await Promise.resolve();
    },
  };
}

test('timers that come in time say nothing, and the system is not asked', () => {
  const { clock, woke, wakeTime } = watched({ says: true });
  clock.turn(3_600_000);
  expect([woke, wakeTime].map(({ mock }) => mock.calls.length)).toEqual([0, 0]);
});

test.each([
  { late: 30_001, wakes: 1 },
  { late: 30_000, wakes: 0 },
])('a timer that is $late ms late tells $wakes sleeps, whatever the system says', async ({ late, wakes }) => {
  const { woke, stall } = watched({ says: false });
  await stall(PERIOD_MS + late, true);
  expect(woke).toHaveBeenCalledTimes(wakes);
});

test.each([
  { late: 2_001, slept: true, wakes: 1 },
  { late: 2_000, slept: true, wakes: 0 },
  { late: 30_000, slept: false, wakes: 0 },
])('one that is $late ms late, where the system says that it slept: $slept, tells $wakes', async (told) => {
  const { woke, stall } = watched({ says: true });
  await stall(PERIOD_MS + told.late, told.slept);
  expect(woke).toHaveBeenCalledTimes(told.wakes);
});

test('each sleep is told once, and a wake of long ago is none', async () => {
  const { clock, woke, stall } = watched({ says: true });
  await stall(PERIOD_MS + 5_000, true);
  clock.turn(60_000);
  await stall(PERIOD_MS + 5_000, false);
  expect(woke).toHaveBeenCalledTimes(1);
  await stall(3_600_000, true);
  expect(woke).toHaveBeenCalledTimes(2);
});

test('nothing is left of it once it is disposed', () => {
  const { clock, watch } = watched({ says: true });
  watch[Symbol.dispose]();
  expect(clock.pending).toBe(0);
});
