import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRuntime } from '../../src/runner/llama-runtime.js';
import { PrefixStore } from '../../src/runner/prefix-store.js';
import type { Row } from '../../src/runner/row.js';
import { Rows } from '../../src/runner/rows.js';
import type { Runtime, SavedRow } from '../../src/runner/runtime.js';
import { exactModel } from '../support/made-models.js';
import { recorded } from '../support/recorded-runtime.js';

/** What rows remember, on the real runtime; some tests make one of its calls fail. */

/** Of the model in these tests: 2 layers, 2 heads of 32 values, keys and values of two bytes. */
const BYTES_PER_TOKEN = 512;
const ROWS = 2;

let runtime: Runtime;
beforeAll(async () => {
  const order = { type: 'load', rows: ROWS, contextTokens: 1_024, threads: 1 } as const;
  runtime = await openRuntime({ ...order, modelPath: exactModel() }, () => undefined);
});
afterAll(() => runtime.close());

const run = (token: number, length: number): number[] => Array.from({ length }, () => token);

/** Rows of a runtime that holds nothing, with room for so many tokens in the store. */
function rowsOf(on: Runtime, storedTokens: number) {
  for (let row = 0; row < ROWS; row++) runtime.cut(row, 0);
  const bytes = storedTokens * BYTES_PER_TOKEN;
  const rows = new Rows(on, new PrefixStore({ bytes, bytesPerRow: 0, bytesPerToken: BYTES_PER_TOKEN }));
  /** Reads a prompt whole. The row stays busy. */
  const read = async (prompt: readonly number[]): Promise<{ row: Row; reused: number }> => {
    const { row, reused } = await rows.claim({ prompt, scope: 'mine', headTokens: 0 });
    const tokens = prompt.slice(reused);
    await on.step([{ row: row.id, position: reused, tokens, sampler: undefined }]);
    rows.grow(row, tokens);
    return { row, reused };
  };
  return { rows, read };
}

/** Two conversations in turn, each with a row of its own taken away by the other. */
async function inTurn(on: Runtime, storedTokens: number, turns: number): Promise<number[]> {
  const { rows, read } = rowsOf(on, storedTokens);
  const other = await read(run(7, 8)); // there is one row left
  const reused: number[] = [];
  for (let turn = 0; turn < turns; turn++) {
    const one = await read(run(100 + (turn % 2), 300));
    reused.push(one.reused);
    rows.release(one.row, false);
  }
  rows.release(other.row, false);
  return reused;
}

test('a stored prefix comes back though the store has no room for both', async () => {
  expect(await inTurn(runtime, 450, 6)).toEqual([0, 0, 299, 299, 299, 299]);
});

test('a row for which the store has no room is not copied out', async () => {
  const watched = recorded(runtime);
  expect(await inTurn(watched.runtime, 299, 4)).toEqual([0, 0, 0, 0]);
  expect(watched.saves()).toBe(0);
});

test('a row that cannot be copied out is read again, and no request fails for it', async () => {
  const short: Runtime = { ...runtime, save: () => Promise.reject(new Error('Out of memory.')) };
  expect(await inTurn(short, 1_000, 4)).toEqual([0, 0, 0, 0]);
});

test.each<[string, SavedRow['restore']]>([
  ['cannot now', () => Promise.resolve(false)],
  ['fails', () => Promise.reject(new Error('Out of memory.'))],
])('where a stored prefix does not come back (%s), the shorter one of a row serves', async (_, restore) => {
  const save: Runtime['save'] = async (row, length) => {
    const saved = await runtime.save(row, length);
    return saved && { ...saved, restore };
  };
  const { rows, read } = rowsOf({ ...runtime, save }, 1_000);
  const whole = [...run(1, 100), ...run(2, 200)];
  rows.release((await read(whole)).row, false);
  const other = await read(run(7, 8));
  const beginning = await read([...run(1, 100), ...run(3, 20)]); // the only free row: what it held goes into the store
  expect(beginning.reused).toBe(100);
  rows.release(other.row, false);
  const again = await read(whole);
  expect(again).toMatchObject({ row: { id: other.row.id }, reused: 100 });
});
