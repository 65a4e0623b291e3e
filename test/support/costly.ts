import { test } from 'vitest';

/**
 * Tests that start processes or load models again and again. `npm test` runs a seeded part of them, another one each
 * day; `npm run test:all` runs all. A test that was left out counts as skipped.
 */
const ALL = process.env['DARKBLOOM_TEST_ALL'] === '1';
const DAY_MS = 86_400_000;
const SEED = process.env['DARKBLOOM_TEST_SEED'] ?? String(Math.floor(Date.now() / DAY_MS));
/** Of how many one runs. */
const ONE_IN = 4;

export function costly(name: string, run: () => void | Promise<void>): void {
  test.runIf(ALL || hashOf(`${SEED} ${name}`) % ONE_IN === 0)(name, run);
}

/** A quarter of these, at least one; other ones for another `salt`. */
export function sampled<T>(all: readonly T[], salt = ''): T[] {
  if (ALL) return [...all];
  const ranked = all.map((each, index) => ({ each, rank: hashOf(`${SEED} ${salt} ${index}`) }));
  const chosen = ranked.sort((a, b) => a.rank - b.rank).slice(0, Math.ceil(all.length / ONE_IN));
  return chosen.map(({ each }) => each);
}

/** FNV-1a, 32 bits, its low bits mixed: the rest of a division is taken from it. */
function hashOf(text: string): number {
  const hash = [...Buffer.from(text)].reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193), 0x811c9dc5);
  return (hash ^ (hash >>> 15)) >>> 0;
}
