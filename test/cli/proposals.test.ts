import { describe, expect, test } from 'vitest';
import { adoption, proposalsFor, recommendedOf, type Room } from '../../src/cli/setup/proposals.js';
import type { Candidate } from '../../src/models/adopt.js';
import { readCatalog } from '../../src/models/catalog.js';

const GIB = 1024 ** 3;
const ROOM: Room = { limitBytes: 10 * GIB, diskBytes: 100e9, rows: 4, contextTokens: 8192, kvType: 'f16' };

const CANDIDATE: Candidate = {
  name: 'talker:7b',
  foundIn: 'ollama',
  paths: ['/models/talker'],
  sizeBytes: 4 * GIB,
  quantization: 'Q4_K_M',
};
const SHAPE = { weightBytes: 4 * GIB, layers: 28, kvHeads: 4, keyLength: 128, valueLength: 128 };

describe('what is proposed', () => {
  const catalog = readCatalog();

  test('every proposal fits memory and disk, one build of each model', () => {
    const proposals = proposalsFor(catalog, [], ROOM);
    expect(proposals.length).toBeGreaterThan(2);
    for (const { sum, leftBytes } of proposals) expect(sum.neededBytes + leftBytes).toBe(ROOM.limitBytes);
    expect(proposals.every(({ leftBytes }) => leftBytes >= 0)).toBe(true);
    expect(new Set(proposals.map(({ name }) => name)).size).toBe(proposals.length);
  });

  test('a full disk leaves what is here already', () => {
    const proposals = proposalsFor(catalog, [{ candidate: CANDIDATE, shape: SHAPE }], { ...ROOM, diskBytes: 0 });
    expect(proposals.map(({ kind, name }) => [kind, name])).toEqual([['adopt', 'talker:7b']]);
  });

  test('with little memory a model is proposed with fewer and shorter requests before none is', () => {
    const tight = { ...ROOM, limitBytes: 4 * GIB };
    const fits = proposalsFor(catalog, [], tight).map((each) => each.fits);
    expect(fits).toContain('smaller');
    expect(fits.indexOf('smaller')).toBeGreaterThanOrEqual(fits.lastIndexOf('as_set'));
    expect(proposalsFor(catalog, [], { ...ROOM, limitBytes: GIB / 4 })).toEqual([]);
  });
});

test.each([
  ['leaves a quarter free', [9, 7, 3], 1],
  ['the first where none leaves so much', [9.5, 9], 0],
])('recommended is the best that %s', (_, needed, at) => {
  const proposals = needed.map((gib) => {
    const each = adoption(CANDIDATE, SHAPE, ROOM);
    return { ...each, leftBytes: ROOM.limitBytes - gib * GIB };
  });
  expect(recommendedOf(proposals, ROOM)).toBe(proposals[at]);
});
