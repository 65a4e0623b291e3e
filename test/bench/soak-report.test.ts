import { expect, test } from 'vitest';
import { memoryFaults, memoryGrowth, soakFaults, type SoakReport } from '../../bench/soak-run.js';

const MIB = 1024 ** 2;
const GOOD: SoakReport = {
  seconds: 60,
  done: 100,
  aborted: 20,
  refused: 50,
  failures: [],
  leftBusy: 0,
  compared: 10,
  different: 0,
  memory: [],
};

test('a run in which nothing stayed behind has no faults; refusals that were obeyed are none', () => {
  expect(soakFaults(GOOD)).toEqual([]);
});

test.each([
  [{ done: 0 }, 'no request was answered'],
  [{ failures: ['status 500: x'] }, '1 requests failed, the first: status 500: x'],
  [{ leftBusy: 1 }, '1 requests still run or wait although every client has left'],
  [{ compared: 0 }, 'no answer was compared with one given alone'],
  [{ different: 1 }, '1 of 10 answers were other ones when asked alone'],
])('%j is a fault', (change, fault) => {
  expect(soakFaults({ ...GOOD, ...change })).toEqual([fault]);
});

const memory = (daemonMiB: (seconds: number) => number) =>
  Array.from({ length: 300 }, (_, seconds) => ({
    seconds,
    daemonBytes: daemonMiB(seconds) * MIB,
    runnerBytes: 200 * MIB,
  }));

test('memory that grows in the warm-up and then stays, or swings, is in order', () => {
  expect(memoryFaults(memory((seconds) => Math.min(150, 50 + seconds)))).toEqual([]);
  expect(memoryFaults(memory((seconds) => 150 + 40 * Math.sin(seconds / 5)))).toEqual([]);
});

test('memory that goes on growing is a fault, and its slope is told', () => {
  const growing = memory((seconds) => 100 + seconds / 2);
  expect(memoryFaults(growing)).toEqual(['the daemon grew by 100 MiB after the warm-up']);
  expect(memoryGrowth(growing).daemon.perHourBytes / MIB).toBeCloseTo(1_800, 5);
  expect(memoryGrowth(growing).runner.perHourBytes).toBe(0);
});
