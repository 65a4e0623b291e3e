import { expect, test } from 'vitest';
import { loadsFor } from '../../bench/loads.js';
import { between, exponential, logNormal, seeded, words } from '../../bench/seeded.js';
import { median } from '../../bench/statistics.js';

const LOADS = loadsFor([1, 8]);

test.each(LOADS)('$name is the same for the same seed, and another one for another', ({ plan }) => {
  expect(plan(3)).toEqual(plan(3));
  expect(plan(3)).not.toEqual(plan(4));
});

test.each(LOADS)('$name never has more clients than rows', ({ plan, rows }) => {
  for (const clients of plan(1)) expect(clients.length).toBeLessThanOrEqual(rows);
});

test.each(LOADS)('$name waits only for roles that its phase has', ({ plan }) => {
  for (const clients of plan(1)) {
    const roles = clients.flat().map(({ role }) => role);
    for (const { afterTexts, abort } of clients.flat()) {
      const awaited = [
        ...(afterTexts?.roles ?? []),
        ...(abort !== undefined && 'afterRoles' in abort ? abort.afterRoles : []),
      ];
      expect(roles).toEqual(expect.arrayContaining(awaited));
    }
  }
});

test('no two requests of a load have the same prompt, so that nothing is known by accident', () => {
  for (const { plan } of LOADS) {
    const prompts = plan(1).flatMap((clients) => clients.flat().map(({ prompt }) => prompt));
    expect(new Set(prompts).size).toBe(prompts.length);
  }
});

test('no two loads of a repeat begin alike, so that nothing of one is in the cache for another', () => {
  const beginnings = LOADS.map(({ plan }) => plan(1)[0]?.flat()[0]?.prompt.slice(0, 12));
  expect(new Set(beginnings).size).toBe(LOADS.length);
});

test('the prompts of the prefix load begin with the same 1,492 words and end differently', () => {
  const prompts = LOADS.find(({ name }) => name === 'prefix')
    ?.plan(1)
    .flatMap((clients) => clients.flat().map(({ prompt }) => prompt.split(' ')));
  const [first = [], ...others] = prompts ?? [];
  expect(others).not.toHaveLength(0);
  for (const other of others) {
    expect(other.slice(0, 1_492)).toEqual(first.slice(0, 1_492));
    expect(other.slice(1_492)).not.toEqual(first.slice(1_492));
  }
});

test('seeded numbers are spread evenly and lie where they should', () => {
  const random = seeded(1);
  const numbers = Array.from({ length: 10_000 }, random);
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...numbers)).toBeLessThan(1);
  for (let tenth = 0; tenth < 10; tenth++) {
    const count = numbers.filter((number) => Math.floor(number * 10) === tenth).length;
    expect(count).toBeGreaterThan(850);
    expect(count).toBeLessThan(1_150);
  }
});

test('the distributions have the middle that they are asked for', () => {
  const random = seeded(2);
  const many = <T>(draw: () => T) => Array.from({ length: 10_000 }, draw);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(mean(many(() => exponential(random, 150)))).toBeCloseTo(150, -1);
  expect(median(many(() => logNormal(random, 150, 0.8)))).toBeCloseTo(150, -1);
  expect(new Set(many(() => between(random, 2, 4)))).toEqual(new Set([2, 3, 4]));
});

test('a text has so many words', () => {
  expect(words(seeded(1), 1_500).split(' ')).toHaveLength(1_500);
});
