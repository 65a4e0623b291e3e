/** A model in memory, as far as making room is concerned. */
export interface Resident {
  id: string;
  bytes: number;
  /** Requests are running on it or waiting for it. */
  busy: boolean;
  /** When its last request ended, ms since the epoch. */
  lastUsed: number;
}

/** The idle models to unload, oldest first, so that `needed` bytes fit; `undefined` if they never will. */
export function evictionsFor(needed: number, free: number, residents: readonly Resident[]): string[] | undefined {
  const idle = residents.filter((model) => !model.busy).sort((a, b) => a.lastUsed - b.lastUsed);
  const evicted: string[] = [];
  for (const model of idle) {
    if (free >= needed) break;
    free += model.bytes;
    evicted.push(model.id);
  }
  return free >= needed ? evicted : undefined;
}
