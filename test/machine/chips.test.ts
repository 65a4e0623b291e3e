import { describe, expect, test } from 'vitest';
import { bandwidthOf, chipOf } from '../../src/machine/chips.js';

describe('a chip name', () => {
  test.each([
    ['Apple M1', 'M1', 'Base'],
    ['Apple M3 Pro', 'M3', 'Pro'],
    ['Apple M4 Max', 'M4', 'Max'],
    ['Apple M5 Ultra', 'M5', 'Ultra'],
    ['Apple M10', 'M10', 'Base'],
    ['Apple M10 Ultra', 'M10', 'Ultra'],
    ['Apple M1 (Virtual)', 'M1', 'Base'],
    ['Apple M4 Max (Virtual)', 'M4', 'Max'],
    ['Apple M7 Extreme', 'M7', 'Unknown'],
    ['Apple A18 Pro', 'Unknown', 'Unknown'],
    ['Apple processor', 'Unknown', 'Unknown'],
    ['Intel(R) Core(TM) i7-8700B CPU @ 3.20GHz', 'Unknown', 'Unknown'],
    ['Unknown', 'Unknown', 'Unknown'],
    ['', 'Unknown', 'Unknown'],
  ])('%s is of family %s and tier %s', (name, family, tier) => {
    expect(chipOf(name)).toEqual({ family, tier });
  });
});

describe('memory bandwidth', () => {
  test.each([
    ['Apple M1', 8, 68],
    ['Apple M2 Ultra', 76, 800],
    ['Apple M2 Max', 30, 400],
    ['Apple M3 Max', 30, 300],
    ['Apple M3 Max', 40, 400],
    ['Apple M4 Max', 32, 410],
    ['Apple M4 Max', 40, 546],
    ['Apple M5', 10, 153],
    ['Apple M5 Max', 40, 614],
    ['Apple M6', 12, 170],
  ])('of %s with %i GPU cores is %i GB/s', (name, gpuCores, expected) => {
    expect(bandwidthOf(chipOf(name), gpuCores)).toBe(expected);
  });

  test.each([
    ['a chip that depends on a GPU we could not count', 'Apple M4 Max', 0],
    ['a GPU variant we never saw', 'Apple M3 Max', 35],
    ['a chip from the future', 'Apple M10', 12],
    ['a tier from the future', 'Apple M4 Extreme', 160],
    ['another maker', 'AMD EPYC', 0],
  ])('of %s is not known, and not guessed', (_what, name, gpuCores) => {
    expect(bandwidthOf(chipOf(name), gpuCores)).toBe(0);
  });
});
