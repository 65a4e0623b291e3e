import { TO_THE_END, type NativeContext } from './native-context.js';
import type { Feed } from './runtime.js';

/**
 * How a step of writing rows is computed fastest where CPU threads do it. There one row is bound by the speed of the
 * memory, and a thread more does not help; two rows together may take longer than one after the other, since the kernels
 * for several rows begin to pay from four on (docs/performance.md). Which holds differs from processor to processor, so
 * it is measured once, when the model is loaded.
 */
export interface DecodePace {
  /** For one row. */
  threadsForOne: number;
  /** For several, and for prompts. */
  threads: number;
  /** Up to so many rows are computed one by one. */
  apartUpTo: number;
}

/** Milliseconds that one step took; absent: not measured. */
export interface StepTimes {
  one: number;
  oneWithThreadLess?: number | undefined;
  two?: number | undefined;
  three?: number | undefined;
}

/** A core that is left to others may cost so much of one row's speed. */
const COST_OF_A_CORE = 1.05;
/** Rows are computed apart where that takes less than this share of the time that they take together. */
const APART_SHARE = 0.9;

export function paceOf({ one, oneWithThreadLess, two, three }: StepTimes, threads: number): DecodePace {
  const leavesOne = oneWithThreadLess !== undefined && oneWithThreadLess <= one * COST_OF_A_CORE;
  const alone = leavesOne ? oneWithThreadLess : one;
  const isFasterApart = (rows: number, together = 0) => rows * alone < APART_SHARE * together;
  const apartUpTo = !isFasterApart(2, two) ? 1 : isFasterApart(3, three) ? 3 : 2;
  return { threads, threadsForOne: leavesOne ? threads - 1 : threads, apartUpTo };
}

/** All rows in one batch, on all threads. */
export function together(threads: number): DecodePace {
  return { threads, threadsForOne: threads, apartUpTo: 1 };
}

/** The batches of one step. One token is never cut: what is to be computed alone and has no more may lie beside others. */
export function batchesOf(feeds: readonly Feed[], apartUpTo: number): Feed[][] {
  const writesOnly = feeds.every(({ tokens }) => tokens.length === 1);
  if (writesOnly && feeds.length <= apartUpTo) return feeds.map((feed) => [feed]);
  const isApart = ({ alone, tokens }: Feed) => alone === true && tokens.length > 1;
  const others = feeds.filter((feed) => !isApart(feed));
  const apart = feeds.filter(isApart).map((feed) => [feed]);
  return others.length === 0 ? apart : [others, ...apart];
}

/** A kind of step is tried so often, the fastest counts: whatever else runs only makes it slower. */
const TRIES = 3;
/** A kind of step is tried once more only within so many milliseconds: large models are slow. */
const TRY_MS = 250;
/** What is written into the rows meanwhile; the token is of no account. */
const ANY_TOKEN = 0;

/** Steps empty rows of a new context and leaves them empty. Also brings the weights into memory. */
export async function measurePace(context: NativeContext, rows: number, threads: number): Promise<DecodePace> {
  const step = async (count: number, position: number) => {
    context.initBatch(count);
    for (let row = 0; row < count; row++) {
      context.addToBatch(row, position, Uint32Array.of(ANY_TOKEN), Uint32Array.of(0));
    }
    const begun = performance.now();
    await context.decodeBatch();
    return performance.now() - begun;
  };
  const fastest = async (count: number, withThreads = threads): Promise<number | undefined> => {
    if (count > rows || withThreads < 1) return undefined;
    context.setThreads(withThreads);
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
  const times = {
    one,
    oneWithThreadLess: await fastest(1, threads - 1),
    two: await fastest(2),
    three: await fastest(3),
  };
  context.setThreads(threads);
  return paceOf(times, threads);
}
