import { TO_THE_END, type NativeContext } from './native-context.js';
import type { Feed } from './runtime.js';

/**
 * Whether rows that write are computed together or one by one. Where CPU threads compute, two rows together may take
 * longer than one after the other, since the kernels for several rows begin to pay from four on (docs/performance.md). It
 * differs from processor to processor, so it is measured once, when the model is loaded.
 */

/** Milliseconds that a step of so many rows took; absent: not measured. */
export interface StepTimes {
  one: number;
  two?: number | undefined;
  three?: number | undefined;
}

/** Rows are computed apart where that takes less than this share of the time that they take together. */
const APART_SHARE = 0.9;
/** All rows of a step lie in one batch. */
export const TOGETHER = 1;

/** Up to so many rows are faster one by one. */
export function apartUpTo({ one, two = 0, three = 0 }: StepTimes): number {
  const isFasterApart = (rows: number, together: number) => rows * one < APART_SHARE * together;
  if (!isFasterApart(2, two)) return TOGETHER;
  return isFasterApart(3, three) ? 3 : 2;
}

/** The batches of one step. One token is never cut: what is to be computed alone and has no more may lie beside others. */
export function batchesOf(feeds: readonly Feed[], apart: number): Feed[][] {
  const writesOnly = feeds.every(({ tokens }) => tokens.length === 1);
  if (writesOnly && feeds.length <= apart) return feeds.map((feed) => [feed]);
  const isAlone = ({ alone, tokens }: Feed) => alone === true && tokens.length > 1;
  const others = feeds.filter((feed) => !isAlone(feed));
  const ones = feeds.filter(isAlone).map((feed) => [feed]);
  return others.length === 0 ? ones : [others, ...ones];
}

/** Steps of so many rows are tried so often, the fastest counts: whatever else runs only makes them slower. */
const TRIES = 3;
/** And once more only within so many milliseconds: large models are slow. */
const TRY_MS = 250;
/** What is written into the rows meanwhile; the token is of no account. */
const ANY_TOKEN = 0;

/** Steps empty rows of a new context and leaves them empty. Also brings the weights into memory.
 *  @returns up to how many rows are computed one by one. */
export async function measureApart(context: NativeContext, rows: number): Promise<number> {
  const step = async (count: number, position: number) => {
    context.initBatch(count);
    for (let row = 0; row < count; row++) {
      context.addToBatch(row, position, Uint32Array.of(ANY_TOKEN), Uint32Array.of(0));
    }
    const begun = performance.now();
    await context.decodeBatch();
    return performance.now() - begun;
  };
  const fastest = async (count: number): Promise<number | undefined> => {
    if (count > rows) return undefined;
    const times: number[] = [];
    const begun = performance.now();
    while (times.length < TRIES && (times.length === 0 || performance.now() - begun < TRY_MS)) {
      times.push(await step(count, times.length));
    }
    for (let row = 0; row < count; row++) context.removeTokenCellsFromSequence(row, 0, TO_THE_END);
    return Math.min(...times);
  };
  await fastest(1); // the first ones find nothing in the caches
  const one = (await fastest(1)) ?? Infinity;
  return apartUpTo({ one, two: await fastest(2), three: await fastest(3) });
}
