import { expect, test } from 'vitest';
import { differentCounts, inTurn, ratios, type Series } from '../../bench/compare.js';
import { FLOORS, judge } from '../../bench/floors.js';

const series = (load: string, contender: string, figure: string, ...values: number[]): Series => ({
  load,
  contender,
  figure,
  values,
});
const verdict = (name: string, all: readonly Series[]) => judge(all).find((each) => each.name === name)?.verdict;

test.each([
  [1.2, 'aim met'],
  [1.02, 'met'],
  [0.9, 'not met'],
])('eight streams of a runner at %d of the server are: %s', (ratio, expected) => {
  const all = [
    series('steady-8', 'runner', 'tokensPerSecond', 200 * ratio, 300 * ratio),
    series('steady-8', 'llama-server', 'tokensPerSecond', 200, 300),
  ];
  expect(verdict('steady, 8 streams, runner ÷ server', all)).toBe(expected);
});

test.each([
  [0.7, 'aim met'],
  [0.9, 'met'],
  [1.1, 'not met'],
])('where less is better, %d of the server is: %s', (ratio, expected) => {
  const all = [
    series('steady-8', 'http', 'ttftP50Ms', 800 * ratio),
    series('steady-8', 'llama-server', 'ttftP50Ms', 800),
  ];
  expect(verdict('first token, 8 streams, HTTP ÷ server', all)).toBe(expected);
});

test('a median that misses a floor, with an interval that reaches it, is no miss and not said to be met', () => {
  const ratios = [0.98, 0.99, 0.99, 0.995, 1.02, 1.03];
  const all = (by: readonly number[], load: string, who: string, figure: string) => [
    series(load, who, figure, ...by),
    series(load, 'llama-server', figure, ...by.map(() => 1)),
  ];
  expect(verdict('steady, 8 streams, runner ÷ server', all(ratios, 'steady-8', 'runner', 'tokensPerSecond'))).toBe(
    'within scatter',
  );
  const slower = ratios.map((ratio) => 2 - ratio);
  expect(
    verdict('first token, known prefix of 1,500, HTTP ÷ server', all(slower, 'prefix', 'http', 'warmTtftMs')),
  ).toBe('within scatter');
});

test('ragged traffic is held against the server that was faster in each repeat', () => {
  const all = [
    series('ragged', 'http', 'tokensPerSecond', 100, 100),
    series('ragged', 'llama-server', 'tokensPerSecond', 50, 200),
    series('ragged', 'llama-server-kvu', 'tokensPerSecond', 200, 50),
  ];
  const judged = judge(all).find(({ name }) => name.includes('the better server'));
  expect(judged).toMatchObject({ verdict: 'not met', measured: { median: 0.5 } });
});

test('the way adds what it takes longer than the bare runner, in milliseconds', () => {
  const all = [
    series('latency', 'whole', 'ttftP50Ms', 30, 26, 25),
    series('latency', 'runner', 'ttftP50Ms', 24, 20, 20),
  ];
  expect(judge(all).find(({ unit }) => unit === 'ms')).toMatchObject({ verdict: 'met', measured: { median: 6 } });
});

test('what was not measured is said to be so, and every floor can be reached by its aim', () => {
  expect(judge([]).map(({ verdict: each }) => each)).toEqual(FLOORS.map(() => 'not measured'));
  for (const { better, floor, aim } of FLOORS) {
    expect(better === 'higher' ? aim >= floor : aim <= floor).toBe(true);
  }
});

test('a figure that could not be computed meets no floor', () => {
  expect(
    verdict("daemon's share of CPU, 8 streams, whole path", [series('steady-8', 'whole', 'daemonCpuShare', NaN)]),
  ).toBe('not measured');
});

test('every second repeat goes backwards', () => {
  expect([0, 1, 2].map((repeat) => inTurn(['a', 'b', 'c'], repeat).join(''))).toEqual(['abc', 'cba', 'abc']);
});

test('ratios are taken against the server, and without one against the first contender', () => {
  const ours = [series('steady-1', 'raw', 'tokensPerSecond', 120), series('steady-1', 'runner', 'tokensPerSecond', 90)];
  expect(ratios(ours)).toMatchObject([{ contender: 'runner', against: 'raw', median: 0.75 }]);
  const both = [...ours, series('steady-1', 'llama-server', 'tokensPerSecond', 100)];
  expect(ratios(both).map(({ contender, median }) => [contender, median])).toEqual([
    ['raw', 1.2],
    ['runner', 0.9],
  ]);
});

test('contenders that counted other tokens did other work', () => {
  const runs = Object.entries({ runner: 10, http: 10, server: 9 }).map(([contender, tokens]) => ({
    contender,
    tokens,
  }));
  expect(differentCounts(runs)).toEqual(['server counted 9 tokens, runner 10']);
});
