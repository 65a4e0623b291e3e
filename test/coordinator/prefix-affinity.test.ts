import { expect, test } from 'vitest';
import { PrefixAffinity } from '../../src/coordinator/prefix-affinity.js';

const SECRET = 'a secret beginning of a prompt ';
const chat = (...contents: string[]) => ({ messages: contents.map((content) => ({ role: 'user', content })) });
const LONG = SECRET.repeat(100);

test('a prompt that begins like one that a machine has read is known there, and for that account and build alone', () => {
  const prefixes = new PrefixAffinity();
  prefixes.remember('m', 'b', prefixes.beginningsOf('me', chat(LONG)));
  const longer = prefixes.beginningsOf('me', chat(LONG, 'and more'));
  expect(prefixes.cachedTokens('m', 'b', longer)).toBe(2_048 / 4);
  expect(prefixes.cachedTokens('other', 'b', longer)).toBe(0);
  expect(prefixes.cachedTokens('m', 'other', longer)).toBe(0);
  expect(prefixes.cachedTokens('m', 'b', prefixes.beginningsOf('you', chat(LONG, 'and more')))).toBe(0);
});

test('as much counts as is the same: the longest remembered beginning', () => {
  const prefixes = new PrefixAffinity();
  prefixes.remember('m', 'b', prefixes.beginningsOf('me', chat(LONG)));
  const half = prefixes.beginningsOf('me', chat(`${LONG.slice(0, 1_200)}${'x'.repeat(2_000)}`));
  expect(prefixes.cachedTokens('m', 'b', half)).toBe(1_024 / 4);
  expect(prefixes.cachedTokens('m', 'b', prefixes.beginningsOf('me', chat(`x${LONG}`)))).toBe(0);
  expect(prefixes.beginningsOf('me', chat('short'))).toEqual([]);
});

test('tools come first in a prompt, and a cache key keeps chats apart', () => {
  const prefixes = new PrefixAffinity();
  const base = chat(LONG);
  prefixes.remember('m', 'b', prefixes.beginningsOf('me', base));
  for (const other of [
    { ...base, tools: [{ type: 'function' }] },
    { ...base, prompt_cache_key: 'k' },
  ]) {
    expect(prefixes.cachedTokens('m', 'b', prefixes.beginningsOf('me', other))).toBe(0);
  }
});

test('what is kept are hashes under a key of the process: no text, and not the same in two processes', () => {
  const [one, two] = [new PrefixAffinity(), new PrefixAffinity()];
  const beginnings = one.beginningsOf('me', chat(LONG));
  expect(JSON.stringify(beginnings)).not.toContain('secret');
  expect(beginnings.every(({ hash }) => /^[\w-]{43}$/u.test(hash))).toBe(true);
  expect(two.beginningsOf('me', chat(LONG))[0]?.hash).not.toBe(beginnings[0]?.hash);
});

test('the table and the work for one prompt are bounded: the oldest beginning is forgotten', () => {
  const prefixes = new PrefixAffinity();
  const huge = prefixes.beginningsOf('me', chat('x'.repeat(2_000_000)));
  expect([huge.length, huge[0]?.characters]).toEqual([11, 256 * 1024]);
  const first = prefixes.beginningsOf('me', chat(LONG));
  prefixes.remember('m', 'b', first);
  for (let other = 0; other < 20_000; other++) {
    prefixes.remember('m', 'b', [{ hash: `hash ${other}`, characters: 256 }]);
  }
  expect([prefixes.remembered, prefixes.cachedTokens('m', 'b', first)]).toEqual([20_000, 0]);
});
