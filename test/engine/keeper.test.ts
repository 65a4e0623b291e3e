import { expect, test } from 'vitest';
import { Keeper } from '../../src/engine/keeper.js';
import { ManualClock } from '../support/manual-clock.js';
import { RecordedLog } from '../support/recorded-log.js';

/** A keeper of a model whose loads go as a test says. */
function play(load: () => Promise<void>) {
  const clock = new ManualClock();
  const log = new RecordedLog();
  let loads = 0;
  const keeper = new Keeper({
    model: 'local/tiny',
    load: () => {
      loads++;
      return load();
    },
    clock,
    log: log.log,
  });
  return { keeper, clock, log, loads: () => loads };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('a model that cannot be loaded is tried again after waits that double, up to five minutes', async () => {
  const { keeper, clock, log, loads } = play(() => Promise.reject(new Error('memory is short')));
  await keeper.start();
  for (const seconds of [5, 10, 20, 40, 80, 160, 300, 300]) {
    const before = loads();
    clock.turn(seconds * 1_000 - 1);
    expect(loads()).toBe(before);
    clock.turn(1);
    expect(loads()).toBe(before + 1);
    await settled();
  }
  expect(log.text).toContain('a model that is to be kept loaded is not');
});

test('a runner that dies again and again is not started again at once; one that lived well is', async () => {
  const { keeper, clock, loads } = play(() => Promise.resolve());
  await keeper.start();
  for (const seconds of [5, 10, 20]) {
    keeper.lost(100);
    clock.turn(seconds * 1_000 - 1);
    const before = loads();
    clock.turn(1);
    expect(loads()).toBe(before + 1);
    await settled();
  }
  keeper.lost(60_000);
  clock.turn(5_000);
  expect(loads()).toBe(5);
});

test('what is lost twice within one wait is loaded once', async () => {
  const { keeper, clock, loads } = play(() => Promise.resolve());
  await keeper.start();
  keeper.lost(100); // a request had it loaded meanwhile
  keeper.lost(100);
  clock.turn(60_000);
  expect(loads()).toBe(2);
});

test('nothing is tried after the stop', async () => {
  const { keeper, clock, loads } = play(() => Promise.reject(new Error('closed')));
  await keeper.start();
  keeper.stop();
  expect(clock.pending).toBe(0);
  keeper.lost(100);
  expect(clock.pending).toBe(0);
  expect(loads()).toBe(1);
});
