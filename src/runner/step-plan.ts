/** Who may add how many tokens in one step of the loop. Pure. */

/** Prompt tokens that one step may read: how long streams may stand still for all the prompts there are. */
export const READ_TOKENS = 512;
/** Of those, tokens of one prompt beside others: how long these may stand still for one prompt. */
export const CHUNK_TOKENS = 256;

/** A request whose prompt is being read. */
export interface Reading {
  id: number;
  /** Prompt tokens that are not in the cache yet; at least 1. */
  left: number;
  /** The step in which it last got a share, or its row. */
  lastStep: number;
  /** Cut the same way whatever else runs. */
  alone: boolean;
}

/**
 * Prompt tokens for this step, by id. Whoever waited longest comes first, the older request before the younger one; each
 * gets one chunk. A second chunk rides along only whole: cut to what is left, it would cost a pass of its own. A prompt
 * that holds nobody up is read as fast as one step can.
 * `reading` is in order of arrival; `someoneWrites`: a row gets a token of its answer in the same step.
 */
export function readingShares(reading: readonly Reading[], someoneWrites: boolean): ReadonlyMap<number, number> {
  const holdsNobodyUp = reading.length === 1 && !someoneWrites;
  let budget = READ_TOKENS;
  const shares = new Map<number, number>();
  for (const { id, left, alone } of [...reading].sort((a, b) => a.lastStep - b.lastStep)) {
    const chunk = Math.min(left, holdsNobodyUp && !alone ? READ_TOKENS : CHUNK_TOKENS);
    if (chunk > budget) continue;
    shares.set(id, chunk);
    budget -= chunk;
  }
  return shares;
}
