import { expect, test } from 'vitest';
import { harmless } from '../../src/cli/style.js';

test.each<[string, string]>([
  ['one line\n\tand another', 'one line\n\tand another'],
  ['\u001B[2J\u001B[Hgone', '[2J[Hgone'],
  ['\u001B]52;c;cm0=\u0007', ']52;c;cm0='],
  ['\u009B2J\u0090q\u009C', '2Jq'],
  ['back\b\b\b\bover\r', 'backover'],
  ['\u001B[8mhidden\u001B[0m', '[8mhidden[0m'],
  ['naïve 日本語 👩‍💻', 'naïve 日本語 👩‍💻'],
])('%j is shown as %j, with colours and without', (text, shown) => {
  expect([harmless(text), harmless(text, true)]).toEqual([shown, shown]);
});

test('our colours stay where there are any', () => {
  const text = '\u001B[1m\u001B[31mred\u001B[39m\u001B[22m';
  expect(harmless(text, true)).toBe(text);
  expect(harmless(text)).toBe('[1m[31mred[39m[22m');
});
