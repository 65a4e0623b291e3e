import { DarkbloomError } from '../errors.js';
import { RESERVE_BYTES } from '../inference/footprint.js';
import { GIB } from '../util/byte-words.js';

/** Share of the whole memory that is left to the system even when an owner's request is tried against the estimate. */
const SYSTEM_SHARE = 1 / 8;

/** What the machine has and what it lets models have, bytes. */
export interface MachineMemory {
  totalBytes: number;
  engineLimitBytes: number;
}

/** What loaded models may take together, bytes. */
export interface MemoryBudget {
  limitBytes: number;
  /** Whose choice the limit is: a setting is kept to the byte, an estimate errs on the safe side. */
  from: 'setting' | 'machine';
  /** Up to here an owner's model is tried although the estimate says that it does not fit. */
  tryBytes: number;
}

/** @throws DarkbloomError `config_invalid` for a setting of more than the machine has. */
export function memoryBudget(machine: MachineMemory, limitGb: number | undefined): MemoryBudget {
  const { totalBytes, engineLimitBytes } = machine;
  if (limitGb === undefined) {
    const limitBytes = Math.max(0, engineLimitBytes - RESERVE_BYTES);
    return { limitBytes, from: 'machine', tryBytes: Math.max(limitBytes, totalBytes * (1 - SYSTEM_SHARE)) };
  }
  const limitBytes = limitGb * GIB;
  if (limitBytes <= totalBytes) return { limitBytes, from: 'setting', tryBytes: limitBytes };
  const has = Math.floor(totalBytes / GIB);
  throw new DarkbloomError(
    'config_invalid',
    `engine.memory_limit_gb: ${limitGb} GB is more than the ${has} GB of this machine. Set at most ${has}, or unset it.`,
    { param: 'engine.memory_limit_gb' },
  );
}

/** Who set the limit, for errors. */
export function limitOrigin({ from }: MemoryBudget): string {
  return from === 'setting' ? 'the limit is engine.memory_limit_gb' : 'the limit is what this machine lets models have';
}
