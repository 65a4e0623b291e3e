import { stretchesOf } from './gaps.js';

/**
 * Which row a request gets, and when a row moves. Pure. Rows that step together must be neighbours: the runtime computes
 * what lies beyond a gap in a further pass over the model.
 */

export interface RowView {
  id: number;
  busy: boolean;
  /** Tokens that would be lost if someone else got this row. */
  keeps: number;
  /** Grows with each use. */
  lastUsed: number;
}

/**
 * The free row for a new request: beside the busy ones; then one where nothing is lost; then the one unused for longest;
 * then `home`, which holds its prefix already; then the lowest.
 */
export function chooseRow(rows: readonly RowView[], home: number | undefined): number | undefined {
  const busy = busyIds(rows);
  const free = rows
    .filter((row) => !row.busy)
    .map(({ id, keeps, lastUsed }) => ({
      id,
      cost: [
        stretchesOf([...busy, id]).length,
        keeps === 0 ? 0 : 1,
        keeps === 0 ? 0 : lastUsed,
        id === home ? 0 : 1,
        id,
      ],
    }));
  return free.sort((a, b) => compare(a.cost, b.cost))[0]?.id;
}

export interface Move {
  from: number;
  to: number;
}

/** The next move towards one stretch of busy rows: to where the fewest moves lead, then the fewest tokens are lost, then
 *  the ids are lowest. `undefined`: there is no gap. */
export function compactingMove(rows: readonly RowView[]): Move | undefined {
  const busy = busyIds(rows);
  if (stretchesOf(busy).length <= 1) return undefined;
  const isInside = (id: number, start: number) => id >= start && id < start + busy.length;
  const places = rows
    .filter(({ id }) => id + busy.length <= rows.length)
    .map(({ id: start }) => {
      const gaps = rows.filter(({ id, busy: taken }) => isInside(id, start) && !taken);
      return { start, gaps, cost: [gaps.length, gaps.reduce((sum, { keeps }) => sum + keeps, 0), start] };
    });
  const place = places.sort((a, b) => compare(a.cost, b.cost))[0];
  const to = place?.gaps[0]?.id;
  const from = busy.filter((id) => place !== undefined && !isInside(id, place.start)).at(-1);
  return to === undefined || from === undefined ? undefined : { from, to };
}

function busyIds(rows: readonly RowView[]): number[] {
  return rows.filter((row) => row.busy).map(({ id }) => id);
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}
