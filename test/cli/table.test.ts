import { expect, test } from 'vitest';
import { hanging, wrapped } from '../../src/cli/screen.js';
import { tableLines } from '../../src/cli/table.js';

const TABLE = {
  head: ['model', 'build', 'size', ''],
  rows: [
    ['tiny', 'F16', '3.59 MB', 'installed'],
    ['a-model-with-a-long-name', 'Q4_K_M', '12.11 GB', ''],
  ],
  spare: ['size', 'build'],
};

test.each<[string, number, string[], string]>([
  ['there is room for all', 80, [], 'a-model-with-a-long-name  Q4_K_M  12.11 GB'],
  ['one column is too much', 50, ['size'], 'a-model-with-a-long-name  Q4_K_M'],
  ['two columns are too much', 40, ['size', 'build'], 'a-model-with-a-long-name'],
  ['the first column is too wide by itself', 30, ['size', 'build'], 'a-model-with-a-lon…'],
])('a table where %s', (_, width, leftOut, longest) => {
  const table = tableLines(TABLE, width);
  expect(table.leftOut).toEqual(leftOut);
  expect(table.lines).toHaveLength(3);
  expect(table.lines[2]).toBe(longest);
  expect(table.lines[1]).toMatch(/^tiny .*installed$/u);
  for (const line of table.lines) expect(line.length).toBeLessThanOrEqual(width);
});

test.each<[string, string, number, string[]]>([
  ['short', 'one two', 10, ['one two']],
  ['exactly as wide', 'one two', 7, ['one two']],
  ['longer', 'one two three', 7, ['one two', 'three']],
  ['with a word that is longer than the line', 'see /a/long/path here', 8, ['see', '/a/long/path', 'here']],
  ['empty', '', 8, ['']],
  ['that would steer the terminal', 'one\x1b[2J\ntwo', 20, ['one [2J two']],
])('a text that is %s', (_, text, width, lines) => {
  expect(wrapped(text, width)).toEqual(lines);
});

test('further lines begin under the first, whatever colours the head has', () => {
  expect(hanging('\x1b[2mhome\x1b[22m  ', 'one two three', 13)).toEqual([
    '\x1b[2mhome\x1b[22m  one two',
    '      three',
  ]);
});
