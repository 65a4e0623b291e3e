import { DarkbloomError } from '../errors.js';
import { GIB } from '../util/byte-words.js';

/** A Mac to plan for. */
export interface Mac {
  /** `M2 16GB`. */
  name: string;
  memoryBytes: number;
}

/** Chip → memory it is sold with, GB. */
export const MEMORY_OF_CHIPS: Readonly<Record<string, readonly number[]>> = {
  M1: [8, 16],
  'M1 Pro': [16, 32],
  'M1 Max': [32, 64],
  'M1 Ultra': [64, 128],
  M2: [8, 16, 24],
  'M2 Pro': [16, 32],
  'M2 Max': [32, 64, 96],
  'M2 Ultra': [64, 128, 192],
  M3: [8, 16, 24],
  'M3 Pro': [18, 36],
  'M3 Max': [36, 48, 64, 96, 128],
  'M3 Ultra': [96, 256, 512],
  M4: [16, 24, 32],
  'M4 Pro': [24, 48, 64],
  'M4 Max': [36, 48, 64, 128],
  M5: [16, 24, 32],
  'M5 Pro': [24, 48, 64],
  'M5 Max': [36, 48, 64, 128],
};

/** Twelve Macs of 8 to 192 GB, for a table that shows what fits where. */
export const SAMPLE_MACS: readonly string[] = [
  'M1 8GB',
  'M2 16GB',
  'M3 Pro 18GB',
  'M2 24GB',
  'M4 32GB',
  'M3 Pro 36GB',
  'M4 Pro 48GB',
  'M1 Max 64GB',
  'M2 Max 96GB',
  'M4 Max 128GB',
  'M1 Ultra 128GB',
  'M2 Ultra 192GB',
];

/** Reads `M2 16GB`, `Apple M4 Max 128 GB`, `m1-pro 32`. A chip that is not in the table may have any memory.
 *  @throws DarkbloomError `usage` when it is no Mac, or one that was never sold with that memory. */
export function parseMac(text: string): Mac {
  const found = /^(?:apple[\s-]+)?m(\d{1,2})(?:[\s-]+(pro|max|ultra))?[\s,-]+(\d{1,4})\s*(?:gi?b)?$/iu.exec(
    text.trim(),
  );
  const [, generation = '', tier, memory = ''] = found ?? [];
  const gigabytes = Number(memory);
  if (found === null || gigabytes === 0) {
    throw new DarkbloomError('usage', `'${text}' is no Mac. Write chip and memory, for example "M2 16GB".`);
  }
  const tierWord = tier === undefined ? '' : ` ${tier.charAt(0).toUpperCase()}${tier.slice(1).toLowerCase()}`;
  const chip = `M${Number(generation)}${tierWord}`;
  const sold = MEMORY_OF_CHIPS[chip];
  if (sold !== undefined && !sold.includes(gigabytes)) {
    throw new DarkbloomError('usage', `There is no ${chip} with ${gigabytes} GB; it has ${sold.join(', ')} GB.`);
  }
  return { name: `${chip} ${gigabytes}GB`, memoryBytes: gigabytes * GIB };
}
