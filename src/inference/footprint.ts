/** Memory sums, in bytes. Pure. */

export interface ModelShape {
  /** Size of the weights on disk, all files. */
  weightBytes: number;
  /** Layers whose cache grows with the context. */
  layers: number;
  /** Key and value heads, one number for all these layers or one for each. */
  kvHeads: number | readonly number[];
  keyLength: number;
  valueLength: number;
  /** Layers that look back over so many tokens only: their cache stays as small. */
  window?: WindowShape;
  /** State of recurrent layers, bytes for each row, whatever its context. */
  stateBytes?: number;
}

export interface WindowShape {
  tokens: number;
  layers: number;
  kvHeads: number | readonly number[];
  keyLength: number;
  valueLength: number;
}

/** Type of the cache's values. */
export type KvType = keyof typeof BYTES_PER_KV_VALUE;
/** The quantised types keep 32 values in a block with a scale of two bytes. */
const BYTES_PER_KV_VALUE = { f16: 2, q8_0: 34 / 32, q4_0: 18 / 32 } as const;
const KV_BLOCK_VALUES = 32;

/** Memory that other programs and the screen may take from the machine's limit while models run. */
export const RESERVE_BYTES = 512 * 1024 * 1024;
const COMPUTE_SHARE = 0.1; // scratch buffers beside weights and cache, as a share of the weights
const COMPUTE_FLOOR_BYTES = 160 * 1024 * 1024; // a runner without any model was seen to take 90 MiB
const BATCH_TOKENS = 512; // a window's cache also holds the batch that is read in
const PREFIX_STORE_SHARE = 1 / 8; // of the rows' cache
const PREFIX_STORE_MOST_BYTES = 256 * 1024 * 1024;
/** States of recurrent layers and windows that are kept: where a row's instructions end, where another prompt parted from it,
 *  and where its last prompt ended. */
export const CHECKPOINTS_PER_ROW = 3;
const STATE_LEAST_BYTES = 256 * 1024; // not every header tells the size of a convolution's state

/** Bytes by which the cache grows with each token of context. */
export function kvBytesPerToken(
  { layers, kvHeads, keyLength, valueLength }: Omit<WindowShape, 'tokens'>,
  kvType: KvType = 'f16',
): number {
  const heads = typeof kvHeads === 'number' ? kvHeads * layers : kvHeads.reduce((sum, each) => sum + each, 0);
  return heads * (keyLength + valueLength) * BYTES_PER_KV_VALUE[kvType];
}

/** False for a model whose heads cannot be cut into the blocks of this type. */
export function takesKvType({ keyLength, valueLength }: ModelShape, kvType: KvType): boolean {
  return kvType === 'f16' || (keyLength % KV_BLOCK_VALUES === 0 && valueLength % KV_BLOCK_VALUES === 0);
}

/** Memory for what rows held, and what of it a row takes whatever it holds, and for each of its tokens. */
export interface PrefixMemory {
  bytes: number;
  bytesPerRow: number;
  bytesPerToken: number;
}

export const NO_PREFIX_MEMORY: PrefixMemory = { bytes: 0, bytesPerRow: 0, bytesPerToken: 0 };

/** For prefixes that had to leave their rows; where rows cannot be cut, for the states in which they can begin anew. */
export function prefixMemory(
  shape: ModelShape,
  rows: number,
  contextTokens: number,
  kvType: KvType = 'f16',
): PrefixMemory {
  const bytesPerToken = kvBytesPerToken(shape, kvType);
  if (shape.window !== undefined || shape.stateBytes !== undefined) {
    const bytesPerRow = Math.ceil(STATE_LEAST_BYTES + stateBytes(shape, contextTokens, kvType));
    const bytes = Math.min(bytesPerRow * rows * CHECKPOINTS_PER_ROW, PREFIX_STORE_MOST_BYTES);
    return { bytes, bytesPerRow, bytesPerToken: 0 };
  }
  const share = Math.floor(bytesPerToken * rows * contextTokens * PREFIX_STORE_SHARE);
  return { bytes: Math.min(share, PREFIX_STORE_MOST_BYTES), bytesPerRow: 0, bytesPerToken };
}

export interface Footprint {
  weightBytes: number;
  /** Rows and kept prefixes. */
  kvBytes: number;
  computeBytes: number;
  totalBytes: number;
}

/** What a loaded model takes: weights, the cache of all rows and of kept prefixes, and compute buffers with the process
 *  around them. */
export function footprint(shape: ModelShape, rows: number, contextTokens: number, kvType: KvType = 'f16'): Footprint {
  const kvBytes = Math.ceil(
    kvBytesPerToken(shape, kvType) * rows * contextTokens +
      windowBytes(shape.window, rows, contextTokens, kvType) +
      (shape.stateBytes ?? 0) * rows +
      prefixMemory(shape, rows, contextTokens, kvType).bytes,
  );
  const computeBytes = Math.max(COMPUTE_FLOOR_BYTES, Math.round(shape.weightBytes * COMPUTE_SHARE));
  return {
    weightBytes: shape.weightBytes,
    kvBytes,
    computeBytes,
    totalBytes: shape.weightBytes + kvBytes + computeBytes,
  };
}

/** What of one row is copied out for a checkpoint. */
function stateBytes({ window, stateBytes = 0 }: ModelShape, contextTokens: number, kvType: KvType): number {
  return (
    stateBytes + (window === undefined ? 0 : kvBytesPerToken(window, kvType) * Math.min(contextTokens, window.tokens))
  );
}

function windowBytes(window: WindowShape | undefined, rows: number, contextTokens: number, kvType: KvType): number {
  if (window === undefined) return 0;
  return kvBytesPerToken(window, kvType) * rows * Math.min(contextTokens, window.tokens + BATCH_TOKENS);
}
