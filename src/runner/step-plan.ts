/** Who may add how many tokens in one step of the loop. Pure. */

/** Tokens in one batch. */
export const STEP_TOKENS = 512;
/** Prompt tokens that one step may add while others write: how long a stream may stand still for someone's prompt. */
export const READ_BESIDE_WRITERS = 256;
/** Prompt tokens of one request in one step: no abort waits longer than for such a chunk. */
export const CHUNK_TOKENS = 256;

/** A request whose prompt is being read. */
export interface Reading {
  id: number;
  /** Prompt tokens that are not in the cache yet; at least 1. */
  left: number;
  /** The step in which it last got a share; 0: none yet. */
  lastStep: number;
}

/**
 * Prompt tokens for this step, by id. Whoever waited longest comes first, the older request before the younger one; each
 * gets one chunk. A second chunk rides along only whole: cut to what is left, it would cost a pass of its own.
 * `reading` is in order of arrival.
 */
export function readingShares(reading: readonly Reading[], writers: number): ReadonlyMap<number, number> {
  let budget = writers === 0 ? STEP_TOKENS : READ_BESIDE_WRITERS;
  const shares = new Map<number, number>();
  for (const { id, left } of [...reading].sort((a, b) => a.lastStep - b.lastStep)) {
    const chunk = Math.min(left, CHUNK_TOKENS);
    if (chunk > budget) continue;
    shares.set(id, chunk);
    budget -= chunk;
  }
  return shares;
}
