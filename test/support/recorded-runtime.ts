import type { Runtime } from '../../src/runner/runtime.js';

/** One batch that the runtime was given: how many tokens for which row, in the order of the batch. */
export type Batch = readonly { row: number; tokens: number }[];

/** The real runtime, with a list of what it was asked to do. */
export function recorded(runtime: Runtime) {
  const batches: Batch[] = [];
  const copies: { from: number; to: number }[] = [];
  let saves = 0;
  const watched: Runtime = {
    ...runtime,
    step: (feeds, computed) => {
      batches.push(feeds.map(({ row, tokens }) => ({ row, tokens: tokens.length })));
      return runtime.step(feeds, computed);
    },
    copy: (from, to) => {
      copies.push({ from, to });
      return runtime.copy(from, to);
    },
    save: (row, length) => {
      saves++;
      return runtime.save(row, length);
    },
  };
  return { runtime: watched, batches, copies, saves: () => saves };
}
