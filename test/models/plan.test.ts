import { describe, expect, test } from 'vitest';
import { macEngineLimit } from '../../src/machine/memory.js';
import { readCatalog, type CatalogModel } from '../../src/models/catalog.js';
import { MEMORY_OF_CHIPS, parseMac, SAMPLE_MACS } from '../../src/models/macs.js';
import { RESERVE_BYTES } from '../../src/inference/footprint.js';
import { planFor } from '../../src/models/plan.js';

const GIB = 1024 ** 3;
const catalog = readCatalog();
const AS_SET = { rows: 4, contextTokens: 8192 };

function planOf(mac: string, models: readonly CatalogModel[] = catalog) {
  const limitBytes = macEngineLimit(parseMac(mac).memoryBytes, undefined);
  return planFor({ catalog: models, limitBytes, ...AS_SET });
}

describe('a Mac by its name', () => {
  test.each([
    ['M2 16GB', 'M2 16GB', 16],
    ['Apple M4 Max 128 GB', 'M4 Max 128GB', 128],
    ['m1-pro 32', 'M1 Pro 32GB', 32],
    ['M3 ULTRA, 512 GiB', 'M3 Ultra 512GB', 512],
    ['M10 Pro 40GB', 'M10 Pro 40GB', 40],
  ])('%s', (text, name, gigabytes) => {
    expect(parseMac(text)).toEqual({ name, memoryBytes: gigabytes * GIB });
  });

  test.each([
    ['M2', '\'M2\' is no Mac. Write chip and memory, for example "M2 16GB".'],
    ['Intel 16GB', "'Intel 16GB' is no Mac."],
    ['M2 0GB', "'M2 0GB' is no Mac."],
    ['', "'' is no Mac."],
    ['M2 17GB', 'There is no M2 with 17 GB; it has 8, 16, 24 GB.'],
  ])('%s is refused', (text, message) => {
    expect(() => parseMac(text)).toThrow(message);
  });

  test('every Mac of the table can be parsed', () => {
    const names = Object.entries(MEMORY_OF_CHIPS).flatMap(([chip, sizes]) => sizes.map((size) => `${chip} ${size}GB`));
    expect(names.map((name) => parseMac(name).name)).toEqual(names);
    expect(SAMPLE_MACS.map((name) => parseMac(name).name)).toEqual(SAMPLE_MACS);
    expect(SAMPLE_MACS).toHaveLength(12);
  });
});

describe('the plan for a Mac', () => {
  test.each([
    ['M1 8GB', 'local/qwen3.5-4b-q4_k_m'],
    ['M2 16GB', 'local/qwen3.5-9b-q4_k_m'],
    ['M3 Pro 18GB', 'local/qwen3.5-9b-q4_k_m'],
    ['M2 24GB', 'local/gpt-oss-20b-mxfp4'],
    ['M4 32GB', 'local/qwen3.6-35b-ud-iq4_xs'],
    ['M3 Pro 36GB', 'local/qwen3.6-35b-q4_k_m'],
    ['M4 Pro 48GB', 'local/qwen3.6-35b-q4_k_m'],
    ['M1 Max 64GB', 'local/qwen3.6-35b-q4_k_m'],
    ['M2 Max 96GB', 'local/qwen3.6-35b-q4_k_m'],
    ['M4 Max 128GB', 'local/qwen3.5-122b-q4_k_m'],
    ['M2 Ultra 192GB', 'local/qwen3.5-122b-q4_k_m'],
  ])('%s: %s', (mac, recommended) => {
    expect(planOf(mac).recommended?.id).toBe(recommended);
    expect(planOf(mac).recommended?.fits).toBe('as_set');
  });

  test('shows a sum that adds up, for every build and Mac', () => {
    for (const mac of SAMPLE_MACS) {
      const plan = planOf(mac);
      for (const { sum, fits, leftBytes, rows, contextTokens } of plan.lines) {
        expect(sum.neededBytes).toBe(sum.weightBytes + sum.kvBytes + sum.computeBytes + sum.reserveBytes);
        expect(sum.reserveBytes).toBe(RESERVE_BYTES);
        expect(leftBytes).toBe(plan.limitBytes - sum.neededBytes);
        expect(fits === 'no').toBe(leftBytes < 0);
        if (fits === 'as_set') expect({ rows, contextTokens }).toEqual(AS_SET);
      }
    }
  });

  /** Cache by hand: heads × (key + value) × 2 bytes × layers × 4 requests × 8192 tokens, windows, states and kept prefixes beside it. */
  test.each([
    [
      'gpt-oss-20b',
      12_109_566_560,
      8 * 128 * 2 * 12 * 4 * 8192 + 8 * 128 * 2 * 12 * (4 * (128 + 512) + 12 * 128) + 12 * 2 ** 18,
    ],
    ['qwen3.5-9b', 5_680_522_464, 4 * 512 * 2 * 8 * 4 * 8192 + 52_690_944 * 4 + 2 ** 28],
    ['gemma-4-26b', 14_249_047_104, 2 * 1024 * 2 * 5 * 4 * 8192 + 8 * 512 * 2 * 25 * 4 * (1024 + 512) + 2 ** 28],
    ['qwen3-0.6b', 639_446_688, 8 * 256 * 2 * 28 * 4 * 8192 + 2 ** 28],
  ])('of %s has the sum that a person comes to', (alias, weightBytes, kvBytes) => {
    const sum = planOf('M2 Ultra 192GB').lines.find((line) => line.alias === alias)?.sum;
    const computeBytes = Math.max(160 * 1024 ** 2, Math.round(weightBytes / 10));
    expect(sum).toMatchObject({ weightBytes, kvBytes, computeBytes, reserveBytes: GIB / 2 });
    expect(sum?.neededBytes).toBe(weightBytes + kvBytes + computeBytes + GIB / 2);
  });

  test('more memory never makes a build fit worse', () => {
    const order = ['no', 'smaller', 'as_set'];
    const fitsAt = (gigabytes: number) =>
      planFor({ catalog, limitBytes: gigabytes * GIB, ...AS_SET }).lines.map(({ fits }) => order.indexOf(fits));
    for (let gigabytes = 1; gigabytes < 128; gigabytes++) {
      const [less, more] = [fitsAt(gigabytes), fitsAt(gigabytes + 1)];
      expect(more.every((fits, index) => fits >= (less[index] ?? 0))).toBe(true);
    }
  });

  test('serves fewer at once, then shorter ones, where the settings ask for too much', () => {
    const line = planOf('M2 24GB').lines.find(({ alias }) => alias === 'gemma-4-26b');
    expect(line).toMatchObject({ fits: 'smaller', contextTokens: 8192 });
    expect(line?.rows).toBeLessThan(4);
  });

  test('the owner may raise the limit', () => {
    const memoryBytes = 24 * GIB;
    const limitBytes = macEngineLimit(memoryBytes, 20 * 1024);
    expect(limitBytes).toBe(20 * GIB);
    const plan = planFor({ catalog, limitBytes, ...AS_SET });
    expect(plan.lines.find(({ alias }) => alias === 'gemma-4-26b')?.fits).toBe('as_set');
  });

  test('says so where nothing fits', () => {
    const plan = planFor({ catalog, limitBytes: GIB / 4, ...AS_SET });
    expect(plan).not.toHaveProperty('recommended');
    expect(plan.lines.every(({ fits }) => fits === 'no')).toBe(true);
  });

  test('leaves the packaged model out and says what is an estimate', () => {
    expect(planOf('M2 16GB').lines.map(({ alias }) => alias)).not.toContain('darkbloom-tiny-chat');
    expect(planOf('M2 16GB').lines.some(({ isEstimate }) => isEstimate)).toBe(false);
    const unknown = catalog.map(({ cache: _, ...model }): CatalogModel => model);
    const [line] = planOf('M2 Ultra 192GB', unknown).lines;
    expect(line).toMatchObject({ isEstimate: true, fits: 'as_set' });
    expect(line?.sum.kvBytes).toBeGreaterThan(line === undefined ? 0 : line.sum.weightBytes * 0.39);
  });
});
