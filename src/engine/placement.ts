/** Who must leave memory before a model can be loaded. Pure. */

/** A model in memory, as far as making room is concerned. */
export interface Resident {
  id: string;
  bytes: number;
  /** Requests run on it, or it is being loaded or unloaded. */
  busy: boolean;
  /** It stays whatever happens. */
  pinned: boolean;
  /** When its last request ended, ms since the epoch. */
  lastUsed: number;
}

/** Room that must be there. */
export interface Room {
  /** Memory for all models, bytes. */
  limitBytes: number;
  /** Most models at once. */
  maxModels: number;
}

export type Placement =
  /** It can be loaded once these idle ones are unloaded, the oldest first. */
  | { kind: 'fits'; evict: string[] }
  /** It can be loaded once these are idle. */
  | { kind: 'wait'; waitFor: string[] }
  /** Not even when all have left that may. */
  | { kind: 'never' };

/** Makes room for one more model of `needed` bytes: idle models go before busy ones are waited for, the oldest first,
 *  and nobody goes in vain. */
export function placementFor(needed: number, room: Room, residents: readonly Resident[]): Placement {
  const byAge = (a: Resident, b: Resident) => a.lastUsed - b.lastUsed;
  const movable = residents.filter(({ pinned }) => !pinned);
  const order = [...movable.filter(({ busy }) => !busy).sort(byAge), ...movable.filter(({ busy }) => busy).sort(byAge)];
  let free = room.limitBytes - residents.reduce((sum, { bytes }) => sum + bytes, 0);
  let seats = room.maxModels - residents.length;
  const leaving: Resident[] = [];
  for (const model of order) {
    if (free >= needed && seats >= 1) break;
    free += model.bytes;
    seats++;
    leaving.push(model);
  }
  if (free < needed || seats < 1) return { kind: 'never' };
  const waitFor = leaving.filter(({ busy }) => busy).map(({ id }) => id);
  return waitFor.length > 0 ? { kind: 'wait', waitFor } : { kind: 'fits', evict: leaving.map(({ id }) => id) };
}
