/** An Apple chip by the words of its name. */
export interface Chip {
  /** `M1` and up, or `Unknown`. */
  family: string;
  tier: 'Base' | 'Pro' | 'Max' | 'Ultra' | 'Unknown';
}

/** Memory bandwidth in GB/s, as published by Apple. Where it depends on the GPU variant: by number of GPU cores. */
const BANDWIDTH_GBS: Record<string, number | Record<number, number>> = {
  'M1 Base': 68,
  'M1 Pro': 200,
  'M1 Max': 400,
  'M1 Ultra': 800,
  'M2 Base': 100,
  'M2 Pro': 200,
  'M2 Max': 400,
  'M2 Ultra': 800,
  'M3 Base': 100,
  'M3 Pro': 150,
  'M3 Max': { 30: 300, 40: 400 },
  'M3 Ultra': 819,
  'M4 Base': 120,
  'M4 Pro': 273,
  'M4 Max': { 32: 410, 40: 546 },
  'M5 Base': 153,
  'M5 Pro': 307,
  'M5 Max': { 32: 460, 40: 614 },
  // Only the full variant's figure is published.
  'M5 Ultra': { 80: 1200 },
  'M6 Base': 170,
};

/** Reads `machdep.cpu.brand_string`: `Apple M4 Max`, in a virtual machine `Apple M1 (Virtual)`. */
export function chipOf(brand: string): Chip {
  const found = /^Apple M(\d+)(?: (.+))?$/.exec(brand.trim().replace(/ \(Virtual\)$/, ''));
  if (found === null) return { family: 'Unknown', tier: 'Unknown' };
  return { family: `M${Number(found[1])}`, tier: tierOf(found[2]) };
}

function tierOf(words: string | undefined): Chip['tier'] {
  switch (words) {
    case undefined:
      return 'Base';
    case 'Pro':
    case 'Max':
    case 'Ultra':
      return words;
    default:
      return 'Unknown';
  }
}

/** GB/s; 0: not known. */
export function bandwidthOf(chip: Chip, gpuCores: number): number {
  const entry = BANDWIDTH_GBS[`${chip.family} ${chip.tier}`] ?? 0;
  return typeof entry === 'number' ? entry : (entry[gpuCores] ?? 0);
}
