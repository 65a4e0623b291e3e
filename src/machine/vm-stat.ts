/** What `vm_stat` says, in bytes. */
export interface VirtualMemory {
  free: number;
  active: number;
  inactive: number;
  speculative: number;
  wired: number;
  purgeable: number;
  fileBacked: number;
  /** What the compressor occupies, not the larger amount that is stored in it. */
  compressor: number;
}

/** Reads the page size from the header and the lines by label; labels it does not know are skipped.
 *  `undefined` if one of the needed figures is missing: a sum without it would look better than the truth. */
export function parseVmStat(text: string): VirtualMemory | undefined {
  const pageSize = Number(/\(page size of (\d+) bytes\)/.exec(text)?.[1]);
  const pages = new Map<string, number>();
  for (const line of text.split('\n')) {
    const found = /^"?([^":]+)"?:\s+(\d+)\.?\s*$/.exec(line);
    if (found?.[1] !== undefined) pages.set(found[1], Number(found[2]));
  }
  const bytes = (label: string): number => (pages.get(label) ?? NaN) * pageSize;
  const memory: VirtualMemory = {
    free: bytes('Pages free'),
    active: bytes('Pages active'),
    inactive: bytes('Pages inactive'),
    speculative: bytes('Pages speculative'),
    wired: bytes('Pages wired down'),
    purgeable: bytes('Pages purgeable'),
    fileBacked: bytes('File-backed pages'),
    compressor: bytes('Pages occupied by compressor'),
  };
  return Object.values(memory).some(Number.isNaN) ? undefined : memory;
}

/** Bytes that a new allocation can get without pushing anything out to swap. File cache counts on whatever list it is:
 *  after a large download it sits on the active one. */
export function availableBytesOf(memory: VirtualMemory): number {
  const { free, inactive, speculative, purgeable, fileBacked } = memory;
  return free + inactive + speculative + purgeable + Math.max(0, fileBacked - inactive - speculative);
}

/** Share of memory in use, 0 to 1 (docs/protocol.md, heartbeat, `memory_pressure`). */
export function pressureOf(memory: VirtualMemory): number {
  const used = memory.active + memory.wired + memory.compressor;
  return used / (used + memory.inactive + memory.speculative + memory.free);
}
