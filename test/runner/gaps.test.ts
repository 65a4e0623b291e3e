import { afterEach, describe, expect, test, vi } from 'vitest';
import { GREEDY } from '../../src/inference/types.js';
import { BatchCosts, type Shape } from '../../src/runner/batch-costs.js';
import { rowsToFill, stretchesOf } from '../../src/runner/gaps.js';
import { openModel } from '../../src/runner/llama-model.js';
import { LlamaRows } from '../../src/runner/llama-rows.js';
import { vocabularyOf } from '../../src/runner/llama-vocabulary.js';
import { nativeOf } from '../../src/runner/native-context.js';
import type { Feed, Sampler } from '../../src/runner/runtime.js';
import { quantizedModel } from '../support/made-models.js';

/** Milliseconds of neighbours, as measured with two threads of a CPU, and as where a pass over the model is all that
 *  counts. */
const CPU = [0, 6, 14, 19, 23, 27, 28, 30, 28];
const GPU = [0, 10, 10, 10, 10, 11, 11, 11, 11];

function known(ms: readonly number[]): BatchCosts {
  const costs = new BatchCosts();
  for (const [rows, each] of ms.entries()) for (let times = 0; times < 3; times++) costs.learn([rows], each);
  return costs;
}

test.each<[number[], number[]]>([
  [[], []],
  [[3], [1]],
  [[2, 3, 4], [3]],
  [
    [0, 1, 3],
    [2, 1],
  ],
  [
    [6, 1, 4, 3],
    [1, 2, 1],
  ],
])('rows %j make stretches of %j', (rows, stretches) => {
  expect(stretchesOf(rows)).toEqual(stretches);
});

describe('gaps between the rows of a step', () => {
  const shallow = () => 100;

  test.each<[string, number[], number[]]>([
    ['neighbours have none', [2, 3, 4], []],
    ['one row has none', [5], []],
    ['no row has none', [], []],
    ['one', [0, 1, 3], [2]],
    ['several', [1, 3, 4, 6], [2, 5]],
    ['one of many rows', [0, 7], [1, 2, 3, 4, 5, 6]],
  ])('where each pass takes as long as the first: %s', (_, rows, filled) => {
    expect(rowsToFill(rows, shallow, known(GPU))).toEqual(filled);
  });

  test.each<[string, number[], number[]]>([
    ['seven rows, two of them beyond a gap: eight take less', [0, 1, 2, 3, 4, 6, 7], [5]],
    ['two rows: three take longer than each alone', [0, 2], []],
    ['three rows: four take longer than two and one', [0, 1, 3], []],
  ])('where a CPU computes: %s', (_, rows, filled) => {
    expect(rowsToFill(rows, shallow, known(CPU))).toEqual(filled);
  });

  test('stay open where it is not known that filling them is faster', () => {
    const rows = [0, 1, 2, 3, 4, 6, 7];
    expect(rowsToFill(rows, shallow, new BatchCosts())).toEqual([]);
    expect(rowsToFill(rows, shallow, known(CPU.slice(0, 8)))).toEqual([]);
    expect(rowsToFill([0, 2], shallow, known([0, 0, 10, 5]))).toEqual([]); // no slower than the two alone
    const costs = new BatchCosts();
    for (let times = 0; times < 3; times++) costs.learn([8], 28);
    expect(rowsToFill(rows, shallow, costs)).toEqual([]);
  });

  test('stay open where a row between is deeper than all that step', () => {
    const lengthOf = (row: number) => [100, 300, 200][row] ?? 0;
    expect(rowsToFill([0, 2], lengthOf, known(GPU))).toEqual([]);
    expect(rowsToFill([0, 2], (row) => Math.min(200, lengthOf(row)), known(GPU))).toEqual([1]);
  });
});

describe('a step with a gap between its rows', () => {
  let close: (() => Promise<void>) | undefined;
  const samplers: Sampler[] = [];
  afterEach(async () => {
    for (const sampler of samplers.splice(0)) sampler.dispose();
    await close?.();
    close = undefined;
  });

  /** The real rows, which of them each batch had, and what was learned of batches. */
  async function open({ cutsAnywhere = true, ms = GPU, cpuThreads = 0 } = {}) {
    const order = { type: 'load', modelPath: quantizedModel(), rows: 4, contextTokens: 256, gpuLayers: 0 } as const;
    const { llama, model } = await openModel(order, () => undefined);
    const context = await model.createContext({ sequences: 4, contextSize: 256, batchSize: 64, threads: 1 });
    const native = nativeOf(llama, model, context);
    const batches: number[][] = [];
    const initBatch = native.context.initBatch.bind(native.context);
    const addToBatch = native.context.addToBatch.bind(native.context);
    vi.spyOn(native.context, 'initBatch').mockImplementation((tokens) => {
      batches.push([]);
      initBatch(tokens);
    });
    vi.spyOn(native.context, 'addToBatch').mockImplementation((row, ...rest) => {
      batches.at(-1)?.push(row);
      return addToBatch(row, ...rest);
    });
    const fixed = known(ms);
    const learned: Shape[] = [];
    const costs = {
      expected: (shape: Shape) => fixed.expected(shape),
      apart: (shape: Shape) => fixed.apart(shape),
      learn: (shape: Shape) => learned.push(shape),
    };
    const vocabulary = vocabularyOf(model, new Map());
    const rows = new LlamaRows({ native, vocabulary, costs, cpuThreads, cutsAnywhere });
    close = async () => {
      await rows.close();
      await context.dispose();
      await llama.dispose();
    };
    return { rows, batches, learned, native };
  }

  const PROMPTS = [10, 20, 30, 40].map((first) => [first, first + 1, first + 2]);
  const ALL = [0, 1, 2, 3];

  /** Greedy answers in these rows, of which those of one step are computed together. */
  function writer(rows: LlamaRows) {
    const texts: number[][] = PROMPTS.map(() => []);
    const own = PROMPTS.map(() => rows.createSampler({ sampling: GREEDY, logitBias: {} }, 1));
    samplers.push(...own);
    const feed = (row: number): Feed => {
      const [prompt = [], text = [], sampler] = [PROMPTS[row], texts[row], own[row]];
      if (text.length === 0) return { row, position: 0, tokens: prompt, sampler };
      return { row, position: prompt.length + text.length - 1, tokens: text.slice(-1), sampler };
    };
    const step = async (of: readonly number[], alone: readonly number[] = []) => {
      const choices = await rows.step(of.map((row) => ({ ...feed(row), alone: alone.includes(row) })));
      of.forEach((row, index) => {
        const choice = choices[index];
        if (choice === undefined || choice instanceof Error) throw choice ?? new Error('no choice');
        texts[row]?.push(choice.token);
      });
    };
    return { step, feed, texts };
  }

  /** What each row answers, by itself, from the start. */
  async function aloneAnswers(rows: LlamaRows, tokens: number) {
    for (const row of ALL) rows.cut(row, 0);
    const { step, texts } = writer(rows);
    for (const row of ALL) for (let token = 0; token < tokens; token++) await step([row]);
    return texts;
  }

  test('is one batch of neighbours, and what is fed along changes no answer, nor what its row holds', async () => {
    const { rows, batches, learned } = await open();
    const { step, texts } = writer(rows);
    for (const row of ALL) await step([row]);
    for (let token = 1; token < 30; token++) await step([0, 2, 3]);
    expect(batches.slice(4)).toEqual(Array(29).fill(ALL));
    expect(learned).toEqual(Array(29).fill([4]));
    for (let token = 1; token < 30; token++) await step([1]);
    expect(texts).toEqual(await aloneAnswers(rows, 30));
    expect(new Set(texts.flat()).size).toBeGreaterThan(20); // the answers say something
  });

  test('is left as it is where a row cannot be cut again, or a prompt is read, or it is not faster', async () => {
    const gap = [0, 2, 3];
    const uncut = await open({ cutsAnywhere: false });
    const { step } = writer(uncut.rows);
    for (const row of ALL) await step([row]);
    await step(gap);
    expect(uncut.batches.at(-1)).toEqual(gap);
    expect(uncut.learned.at(-1)).toEqual([1, 2]);
    await close?.();

    const reading = await open();
    await writer(reading.rows).step(gap);
    expect(reading.batches).toEqual([gap]);
    expect(reading.learned).toEqual([]);
    await close?.();

    const onCpu = await open({ ms: CPU, cpuThreads: 1 });
    const plain = writer(onCpu.rows);
    for (const row of ALL) await plain.step([row]);
    await plain.step([0, 2]);
    expect(onCpu.batches.at(-1)).toEqual([0, 2]);
    expect(onCpu.learned.at(-1)).toEqual([1, 1]);
    await plain.step([0, 1]); // 14 ms together, 12 apart
    expect(onCpu.batches.slice(-2)).toEqual([[0], [1]]);
  });

  test('may feed along a row that is computed alone in the same step', async () => {
    const { rows, batches } = await open();
    const { step, texts } = writer(rows);
    for (const row of [0, 2]) await step([row]);
    await step([0, 1, 2], [1]);
    expect(batches.slice(2)).toEqual([[0, 1, 2], [1]]);
    for (const row of [3, 1, 1]) await step([row]);
    await step([2]);
    const lengths = texts.map((text) => text.length);
    const expected = await aloneAnswers(rows, 4);
    expect(texts).toEqual(expected.map((text, row) => text.slice(0, lengths[row])));
  });

  test('may feed along a row whose copy is still to come', async () => {
    const { rows, batches } = await open();
    const { step, feed, texts } = writer(rows);
    for (const row of [0, 2, 3]) await step([row]);
    await rows.copy(3, 1);
    await step([0, 2]);
    expect(batches.at(-1)).toEqual([0, 1, 2]);
    for (let token = 1; token < 10; token++) {
      const [inCopy, inRow] = [{ ...feed(3), row: 1 }, feed(3)];
      const [copied] = await rows.step([inCopy]);
      await step([3]);
      expect(copied).toEqual({ token: texts[3]?.at(-1) });
      expect(inCopy.position).toBe(inRow.position);
    }
  });

  test('leaves nothing in a row that was fed along when it fails', async () => {
    const { rows, native } = await open();
    const { step, texts } = writer(rows);
    for (const row of ALL) await step([row]);
    const decodeBatch = native.context.decodeBatch.bind(native.context);
    vi.spyOn(native.context, 'decodeBatch').mockImplementationOnce(async () => {
      await decodeBatch();
      throw new Error('lost');
    });
    await expect(step([0, 2])).rejects.toThrow('lost');
    for (let token = 1; token < 10; token++) await step([1]);
    expect(texts[1]).toEqual((await aloneAnswers(rows, 10))[1]);
  });

  test('knows what a row holds after cuts, copies and restored states', async () => {
    const { rows, batches } = await open();
    const read = (row: number, position: number, count: number) =>
      rows.step([
        { row, position, tokens: Array.from({ length: count }, (_, index) => 50 + index), sampler: undefined },
      ]);
    const pair = async (position: number) => {
      const one = (row: number) => ({ row, position, tokens: [7], sampler: undefined });
      await rows.step([one(0), one(2)]);
      for (const row of [0, 2]) rows.cut(row, position);
      return batches.at(-1);
    };
    for (const row of [0, 2]) await read(row, 0, 20);
    await read(1, 0, 30);
    expect(await pair(20)).toEqual([0, 2]); // the row between is deeper
    rows.cut(1, 10);
    expect(await pair(20)).toEqual([0, 1, 2]);
    const saved = await rows.save(1, 10);
    await read(1, 10, 20);
    expect(await pair(20)).toEqual([0, 2]);
    expect(await saved?.restore(1)).toBe(true);
    expect(await pair(20)).toEqual([0, 1, 2]);
    await read(3, 0, 25);
    await rows.copy(3, 1);
    expect(await pair(20)).toEqual([0, 2]);
    saved?.dispose();
  });
});
