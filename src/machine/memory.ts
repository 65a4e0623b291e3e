import { readFile } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { readGroupMemory, type ReadText } from './cgroup.js';
import type { Commands } from './commands.js';
import { parseMeminfo } from './meminfo.js';
import { readSysctl, wholeNumber } from './sysctl.js';
import { availableBytesOf, parseVmStat, pressureOf } from './vm-stat.js';
import { GIB } from '../util/byte-words.js';

const VM_STAT = '/usr/bin/vm_stat';
const WIRED_LIMIT_MIB = 'iogpu.wired_limit_mb';
const MIB = 2 ** 20;

export interface Memory {
  /** Of the machine; in a container with a limit, the limit. */
  totalBytes: number;
  /** What a new allocation can get without swapping. Where the system does not say: the free pages alone. */
  availableBytes: number;
  /** Share of memory in use, 0 to 1. */
  pressure: number;
  /** The most the engine may use: what the owner set (`iogpu.wired_limit_mb`), otherwise an estimate on the safe side.
   *  On a Mac a loaded engine knows the true figure. */
  engineLimitBytes: number;
}

/** Memory now. Never rejects: what cannot be read falls back to the less favourable figures of Node. */
export async function readMemory(commands: Commands, platform: NodeJS.Platform): Promise<Memory> {
  if (platform === 'darwin') return readMacMemory(commands);
  return platform === 'linux' ? readLinuxMemory(textOf) : plainMemory(totalmem(), freemem());
}

/** Of the machine, or of the container that this process is in. */
export async function readLinuxMemory(readText: ReadText): Promise<Memory> {
  const [meminfo, group] = await Promise.all([readText('/proc/meminfo'), readGroupMemory(readText)]);
  const { totalBytes, availableBytes } = parseMeminfo(meminfo ?? '') ?? {
    totalBytes: totalmem(),
    availableBytes: freemem(),
  };
  return plainMemory(
    Math.min(totalBytes, group?.limitBytes ?? Infinity),
    Math.min(availableBytes, group?.availableBytes ?? Infinity),
  );
}

function plainMemory(totalBytes: number, availableBytes: number): Memory {
  return {
    totalBytes,
    availableBytes,
    pressure: shareInUse(totalBytes, availableBytes),
    engineLimitBytes: Math.floor((totalBytes * 3) / 4),
  };
}

async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined); // absent, or not to be read: not known
}

async function readMacMemory(commands: Commands): Promise<Memory> {
  const [values, vmStat] = await Promise.all([
    readSysctl(commands, ['hw.memsize', WIRED_LIMIT_MIB]),
    commands.run(VM_STAT, []),
  ]);
  const totalBytes = wholeNumber(values, 'hw.memsize') ?? totalmem();
  const memory = parseVmStat(vmStat.stdout);
  const availableBytes = Math.min(totalBytes, memory === undefined ? freemem() : availableBytesOf(memory));
  return {
    totalBytes,
    availableBytes,
    pressure: memory === undefined ? shareInUse(totalBytes, availableBytes) : pressureOf(memory),
    engineLimitBytes: macEngineLimit(totalBytes, wholeNumber(values, WIRED_LIMIT_MIB)),
  };
}

/**
 * Bytes the GPU may hold on a Mac. `wiredLimitMib` is the owner's override; 0 or missing means not set. Without it: the
 * share of older systems, 2/3 up to 32 GiB and 3/4 above. Newer systems allow more, so it errs on the safe side.
 */
export function macEngineLimit(totalBytes: number, wiredLimitMib: number | undefined): number {
  if (wiredLimitMib !== undefined && wiredLimitMib > 0) return Math.min(totalBytes, wiredLimitMib * MIB);
  return Math.floor(totalBytes <= 32 * GIB ? (totalBytes * 2) / 3 : (totalBytes * 3) / 4);
}

function shareInUse(totalBytes: number, availableBytes: number): number {
  return Math.max(0, 1 - availableBytes / totalBytes);
}
