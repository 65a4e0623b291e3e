import { expect, test } from 'vitest';
import { footprint, kvBytesPerToken, prefixMemory, type ModelShape } from '../../src/inference/footprint.js';

const MIB = 1024 * 1024;
const tiny: ModelShape = { weightBytes: 3_590_208, layers: 4, kvHeads: 2, keyLength: 64, valueLength: 64 };
const large: ModelShape = { weightBytes: 4_000 * MIB, layers: 36, kvHeads: 8, keyLength: 128, valueLength: 128 };

test.each([
  ['the demo model', tiny, 2_048],
  ['a model of four billion', large, 147_456],
  ['a model whose layers differ', { ...tiny, layers: 3, kvHeads: [4, 2, 0] }, 6 * 128 * 2],
  ['a model whose keys and values differ', { ...tiny, layers: 1, kvHeads: 1, keyLength: 192 }, (192 + 64) * 2],
])('the cache of %s takes so many bytes for each token', (_, shape, bytes) => {
  expect(kvBytesPerToken(shape)).toBe(bytes);
});

test('a loaded model takes its weights, the cache of all rows and something to compute in', () => {
  expect(footprint(large, 4, 8_192)).toEqual({
    weightBytes: 4_000 * MIB,
    kvBytes: 147_456 * 4 * 8_192 + 256 * MIB,
    computeBytes: 400 * MIB,
    totalBytes: 4_400 * MIB + 147_456 * 4 * 8_192 + 256 * MIB,
  });
});

test('prefixes are kept in an eighth of the cache, in 256 MiB at most', () => {
  expect(prefixMemory(tiny, 4, 2_048)).toEqual({
    bytes: 2_048 * 2_048 * 4 * (1 / 8),
    bytesPerRow: 0,
    bytesPerToken: 2_048,
  });
  expect(prefixMemory(large, 4, 8_192)).toEqual({ bytes: 256 * MIB, bytesPerRow: 0, bytesPerToken: 147_456 });
});

test('where rows cannot be cut, three states of each are kept, in 256 MiB at most', () => {
  const recurrent = { ...tiny, stateBytes: 744 * 1_024 };
  const bytesPerRow = 1_000 * 1_024;
  expect(prefixMemory(recurrent, 4, 2_048)).toEqual({ bytes: 12 * bytesPerRow, bytesPerRow, bytesPerToken: 0 });
  const window = { tokens: 1_024, layers: 25, kvHeads: 8, keyLength: 256, valueLength: 256 };
  expect(prefixMemory({ ...tiny, window }, 4, 8_192).bytes).toBe(256 * MIB);
});

test('a very small model needs room to compute all the same', () => {
  expect(footprint(tiny, 1, 2_048).computeBytes).toBe(160 * MIB);
});

test('layers that look back only so far, and recurrent ones, do not grow with the context', () => {
  const window = { tokens: 1_024, layers: 3, kvHeads: 2, keyLength: 64, valueLength: 64 };
  const growth = 2_048 * 2;
  const base = footprint({ ...tiny, window, stateBytes: 1_000 }, 2, 8_192).kvBytes;
  const checkpoint = 256 * 1_024 + 1_536 * 1_024 + 1_000;
  expect(base).toBe(growth * 8_192 + 1_536 * (1_024 + 512) * 2 + 2_000 + 6 * checkpoint);
  expect(footprint({ ...tiny, window, stateBytes: 1_000 }, 2, 8_193).kvBytes - base).toBe(growth);
  expect(footprint({ ...tiny, window }, 1, 512).kvBytes).toBe((2_048 + 1_536) * 512 + 3 * (256 * 1_024 + 1_536 * 512));
});
