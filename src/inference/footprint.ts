/** Memory sums, in bytes. Pure. */

export interface ModelShape {
  /** Size of the weights on disk, all files. */
  weightBytes: number;
  layers: number;
  /** Key and value heads, one number for all layers or one for each. */
  kvHeads: number | readonly number[];
  keyLength: number;
  valueLength: number;
}

const BYTES_PER_KV_VALUE = 2; // f16, the cache's default type
const COMPUTE_SHARE = 0.1; // scratch buffers beside weights and cache, as a share of the weights
const COMPUTE_FLOOR_BYTES = 64 * 1024 * 1024;

export function kvBytesPerToken({ layers, kvHeads, keyLength, valueLength }: ModelShape): number {
  const heads = typeof kvHeads === 'number' ? kvHeads * layers : kvHeads.reduce((sum, each) => sum + each, 0);
  return heads * (keyLength + valueLength) * BYTES_PER_KV_VALUE;
}

export interface Footprint {
  weightBytes: number;
  kvBytes: number;
  computeBytes: number;
  totalBytes: number;
}

/** What a loaded model takes: weights, the cache of all rows, and compute buffers. */
export function footprint(shape: ModelShape, rows: number, contextTokens: number): Footprint {
  const kvBytes = kvBytesPerToken(shape) * rows * contextTokens;
  const computeBytes = Math.max(COMPUTE_FLOOR_BYTES, Math.round(shape.weightBytes * COMPUTE_SHARE));
  return {
    weightBytes: shape.weightBytes,
    kvBytes,
    computeBytes,
    totalBytes: shape.weightBytes + kvBytes + computeBytes,
  };
}
