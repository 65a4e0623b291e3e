import { expect, test } from 'vitest';
import { parseOptions } from '../../bench/options.js';
import { parsePsLine } from '../../bench/processes.js';

test('without options everything of ours is compared, three times', () => {
  expect(parseOptions([])).toMatchObject({
    suite: 'compare',
    repeats: 3,
    levels: ['raw', 'runner', 'http', 'whole'],
    streams: [1, 2, 4, 8],
    threads: 2,
    loads: [],
    peers: [],
  });
});

test('levels, loads and peers may be given several times', () => {
  const options = parseOptions([
    'floors',
    ...['--level', 'http', '--level', 'runner', '--load', 'ragged', '--streams', '2,8'],
    ...['--peer', 'ollama=http://127.0.0.1:11434/v1/#llama3', '--peer', 'other=https://a.example/v1'],
  ]);
  expect(options).toMatchObject({ suite: 'floors', levels: ['http', 'runner'], loads: ['ragged'], streams: [2, 8] });
  expect(options.peers).toEqual([
    { name: 'ollama', url: 'http://127.0.0.1:11434/v1', model: 'llama3', apiKey: 'none' },
    { name: 'other', url: 'https://a.example/v1', model: 'default', apiKey: 'none' },
  ]);
});

test.each([
  [['--repeats', '0'], "--repeats takes whole numbers from 1 to 100, not '0'."],
  [['--streams', '1,x'], "--streams takes whole numbers from 1 to 64, not 'x'."],
  [['--level', 'bare'], "There is no level 'bare'. There are: raw, runner, http, whole."],
  [['--peer', 'ollama'], "--peer takes NAME=URL or NAME=URL#MODEL, not 'ollama'."],
  [['floors', 'growth'], "There is one suite at a time, not also 'growth'."],
])('%j is refused', (args, message) => {
  expect(() => parseOptions(args)).toThrow(message);
});

test.each([
  ['  501     1   1:02.34  20480', { pid: 501, parent: 1, cpuSeconds: 62.34, residentBytes: 20_971_520 }],
  ['7 3 01:00:05 4', { pid: 7, parent: 3, cpuSeconds: 3_605, residentBytes: 4_096 }],
  ['7 3 2-01:00:05 4', { pid: 7, parent: 3, cpuSeconds: 176_405, residentBytes: 4_096 }],
])('ps says %j', (line, expected) => {
  expect(parsePsLine(line)).toEqual(expected);
});

test('a line that is not of ps says nothing', () => {
  expect(parsePsLine('')).toBeUndefined();
});
