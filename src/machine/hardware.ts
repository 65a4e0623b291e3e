import { cpus } from 'node:os';
import { cpu, system } from 'systeminformation';
import type { Hardware } from '../protocol/provider-messages.js';
import { bandwidthOf, chipOf } from './chips.js';
import type { Commands } from './commands.js';
import { gpuCoresOf } from './displays.js';
import { readMemory, type Memory } from './memory.js';
import { coresByLevel, readSysctl, wholeNumber } from './sysctl.js';
import { GIB } from '../util/byte-words.js';

const SYSTEM_PROFILER = '/usr/sbin/system_profiler';
const SYSTEM_INFORMATION_TIMEOUT_MS = 5_000;
const UNKNOWN = 'Unknown';

const SYSCTL_KEYS = [
  'hw.model',
  'hw.ncpu',
  'hw.perflevel0.physicalcpu',
  'hw.perflevel1.physicalcpu',
  'hw.perflevel2.physicalcpu',
  'hw.perflevel3.physicalcpu',
  'machdep.cpu.brand_string',
];

/** What this machine is. Never rejects: what cannot be read is `Unknown` or 0. */
export async function readHardware(commands: Commands, platform: NodeJS.Platform): Promise<Hardware> {
  const memory = await readMemory(commands, platform);
  return platform === 'darwin' ? readMac(commands, memory) : readOther(memory);
}

async function readMac(commands: Commands, memory: Memory): Promise<Hardware> {
  const [values, displays] = await Promise.all([
    readSysctl(commands, SYSCTL_KEYS),
    // The small report has no serial numbers in it.
    commands.run(SYSTEM_PROFILER, ['-json', '-detailLevel', 'mini', 'SPDisplaysDataType']),
  ]);
  const chipName = values.get('machdep.cpu.brand_string') ?? UNKNOWN;
  const chip = chipOf(chipName);
  const levels = coresByLevel(values);
  const total = wholeNumber(values, 'hw.ncpu') ?? (levels && levels.performance + levels.efficiency) ?? cpus().length;
  const gpuCores = gpuCoresOf(displays.stdout);
  return {
    machine_model: values.get('hw.model') ?? UNKNOWN,
    chip_name: chipName,
    chip_family: chip.family,
    chip_tier: chip.tier,
    ...memoryFields(memory),
    // Without levels there is one kind of core.
    cpu_cores: { total, ...(levels ?? { performance: total, efficiency: 0 }) },
    gpu_cores: gpuCores,
    memory_bandwidth_gbs: bandwidthOf(chip, gpuCores),
  };
}

async function readOther(memory: Memory): Promise<Hardware> {
  const [processor, machine] = await Promise.all([orUndefined(cpu()), orUndefined(system())]);
  const cores = cpus();
  const total = processor?.physicalCores || cores.length;
  const efficiency = Math.min(total, processor?.efficiencyCores ?? 0);
  const name = processor === undefined ? cores[0]?.model : `${processor.manufacturer} ${processor.brand}`;
  return {
    machine_model: machine?.model.trim() || UNKNOWN,
    chip_name: name?.trim() || UNKNOWN,
    chip_family: UNKNOWN,
    chip_tier: UNKNOWN,
    ...memoryFields(memory),
    cpu_cores: { total, performance: total - efficiency, efficiency },
    gpu_cores: 0,
    memory_bandwidth_gbs: 0,
  };
}

function memoryFields(memory: Memory): Pick<Hardware, 'memory_gb' | 'memory_available_gb'> {
  return {
    memory_gb: Math.floor(memory.totalBytes / GIB),
    memory_available_gb: Math.floor((memory.availableBytes / GIB) * 100) / 100,
  };
}

/** What `reading` resolves to, `undefined` if it fails or takes too long: the library sets no bound itself. */
async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), SYSTEM_INFORMATION_TIMEOUT_MS);
  });
  try {
    return await Promise.race([reading.catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}
