import { expect, test } from 'vitest';
import { untilIdle, untilRowFree, type Pace, type Writing } from '../../src/engine/forecast.js';

const usual: Pace = { tokensPerS: 10, answerTokens: 100 };
const unmeasured: Pace = { tokensPerS: undefined, answerTokens: undefined };

test.each<[string, Writing[], Pace, number]>([
  ['what a usual answer still has to write', [{ written: 40, bound: 1_000 }], usual, 6],
  [
    'of several the one that ends first',
    [
      { written: 10, bound: 500 },
      { written: 90, bound: 500 },
    ],
    usual,
    1,
  ],
  ['never more than its bound', [{ written: 5, bound: 25 }], usual, 2],
  ['an unusually long answer: as long again as a usual one', [{ written: 300, bound: 1_000 }], usual, 10],
  ['an unusually long answer near its bound', [{ written: 300, bound: 310 }], usual, 1],
  ['a slow machine is not made to look faster', [{ written: 0, bound: 100 }], { ...usual, tokensPerS: 2 }, 50],
  ['a very slow one: at most two minutes', [{ written: 0, bound: 5_000 }], { ...usual, tokensPerS: 0.1 }, 120],
  ['without a measured answer its bound counts', [{ written: 0, bound: 50 }], { ...unmeasured, tokensPerS: 10 }, 5],
  ['nothing measured', [{ written: 0, bound: 50 }], unmeasured, 5],
  ['nothing written yet: the model is being loaded', [], usual, 5],
])('until a row is free: %s', (_, running, pace, seconds) => {
  expect(untilRowFree(running, pace)).toBe(seconds);
});

test.each<[string, Writing[], number, number, Pace, number]>([
  [
    'the last of those that run',
    [
      { written: 10, bound: 500 },
      { written: 90, bound: 500 },
    ],
    0,
    2,
    usual,
    9,
  ],
  ['and those that wait, as many at once as there are rows', [{ written: 50, bound: 500 }], 4, 2, usual, 25],
  ['nothing runs', [], 0, 2, usual, 1],
  ['nothing measured', [{ written: 0, bound: 50 }], 3, 1, unmeasured, 5],
])('until a model is idle: %s', (_, running, waiting, rows, pace, seconds) => {
  expect(untilIdle(running, waiting, rows, pace)).toBe(seconds);
});
