import { expect, test } from 'vitest';
import { SpeedMeter } from '../../src/engine/speed-meter.js';
import { ManualClock } from '../support/manual-clock.js';

function play() {
  const clock = new ManualClock();
  const meter = new SpeedMeter(clock);
  const count = (tokens: number) => {
    for (let token = 0; token < tokens; token++) meter.count();
  };
  return { clock, meter, count };
}

const total = (meter: SpeedMeter) => meter.history().reduce((sum, tokens) => sum + tokens, 0);

test('before the first token the last minute is sixty empty seconds', () => {
  expect(play().meter.history()).toEqual(Array.from({ length: 60 }, () => 0));
});

test('a second is told when it is over, as the newest', () => {
  const { clock, meter, count } = play();
  count(3);
  expect(total(meter)).toBe(0);
  clock.turn(1_000);
  count(5);
  expect(meter.history().at(-1)).toBe(3);
  clock.turn(1_000);
  expect(meter.history().slice(-2)).toEqual([3, 5]);
});

test('a second without tokens is a zero between the others', () => {
  const { clock, meter, count } = play();
  count(1);
  clock.turn(3_000);
  count(2);
  clock.turn(1_000);
  expect(meter.history().slice(-4)).toEqual([1, 0, 0, 2]);
});

test('a second is told for a minute and no longer', () => {
  const { clock, meter, count } = play();
  count(7);
  clock.turn(60_000);
  expect(meter.history()[0]).toBe(7);
  clock.turn(1_000);
  expect(total(meter)).toBe(0);
});

test('however long it counts, a minute of steady work stays a minute', () => {
  const { clock, meter, count } = play();
  for (let second = 0; second < 500; second++) {
    count(2);
    clock.turn(1_000);
  }
  expect(meter.history()).toEqual(Array.from({ length: 60 }, () => 2));
});

test('after the machine slept, what was before is forgotten', () => {
  const { clock, meter, count } = play();
  count(9);
  clock.sleep(3_600_000);
  expect(total(meter)).toBe(0);
  count(1);
  clock.turn(1_000);
  expect(meter.history().at(-1)).toBe(1);
});
