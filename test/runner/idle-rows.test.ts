import { afterEach, describe, expect, test, vi } from 'vitest';
import { GREEDY } from '../../src/inference/types.js';
import { idleRowsBetween } from '../../src/runner/idle-rows.js';
import { openModel } from '../../src/runner/llama-model.js';
import { LlamaRows } from '../../src/runner/llama-rows.js';
import { vocabularyOf } from '../../src/runner/llama-vocabulary.js';
import { nativeOf } from '../../src/runner/native-context.js';
import { quantizedModel } from '../support/made-models.js';

describe('idle rows between those that step', () => {
  const shallow = () => 100;
  /** Milliseconds by rows, as measured with two threads of a CPU. */
  const cpu = { expected: (rows: number) => [0, 6, 14, 19, 23, 27, 28, 30, 28][rows] };
  const unknown = { expected: () => undefined };

  test.each<[string, number[], number[]]>([
    ['neighbours have none', [2, 3, 4], []],
    ['one row has none', [5], []],
    ['no row has none', [], []],
    ['one gap', [0, 1, 3], [2]],
    ['several gaps', [1, 3, 4, 6], [2, 5]],
    ['a gap with more rows than step is left open', [0, 4], []],
  ])('where a GPU computes: %s', (_, rows, idle) => {
    expect(idleRowsBetween(rows, shallow, undefined)).toEqual(idle);
  });

  test.each<[string, number[], number[]]>([
    ['seven rows, two of them beyond a gap: eight take less', [0, 1, 2, 3, 4, 6, 7], [5]],
    ['two rows: three take longer than each alone', [0, 2], []],
    ['three rows: four take longer than two and one', [0, 1, 3], []],
  ])('where a CPU computes: %s', (_, rows, idle) => {
    expect(idleRowsBetween(rows, shallow, cpu)).toEqual(idle);
    expect(idleRowsBetween(rows, shallow, unknown)).toEqual([]);
  });

  test('a row that is deeper than all that step is not fed along', () => {
    const lengthOf = (row: number) => [100, 300, 200][row] ?? 0;
    expect(idleRowsBetween([0, 2], lengthOf, undefined)).toEqual([]);
    expect(idleRowsBetween([0, 2], (row) => Math.min(200, lengthOf(row)), undefined)).toEqual([1]);
  });
});

describe('a step with a gap between its rows', () => {
  let close: (() => Promise<void>) | undefined;
  afterEach(async () => {
    await close?.();
    close = undefined;
  });

  /** Rows of the real runtime as where a GPU computes, and which of them each batch had. */
  async function open(cutsAnywhere: boolean) {
    const order = { type: 'load', modelPath: quantizedModel(), rows: 4, contextTokens: 256 } as const;
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
    const vocabulary = vocabularyOf(model, new Map());
    const rows = new LlamaRows({ native, vocabulary, cpuThreads: 0, cutsAnywhere });
    close = async () => {
      await rows.close();
      await context.dispose();
      await llama.dispose();
    };
    return { rows, batches };
  }

  const PROMPTS = [10, 20, 30, 40].map((first) => [first, first + 1, first + 2]);

  /** Reads each row's prompt, lets `together` write so many tokens in common steps, and then all others, each alone. */
  async function written(rows: LlamaRows, together: readonly number[], tokens: number) {
    const texts: number[][] = PROMPTS.map(() => []);
    const samplers = PROMPTS.map(() => rows.createSampler({ sampling: GREEDY, logitBias: {} }, 1));
    const feed = (row: number) => {
      const [prompt = [], text = []] = [PROMPTS[row], texts[row]];
      const next = text.length === 0 ? prompt : text.slice(-1);
      return { row, position: text.length === 0 ? 0 : prompt.length + text.length - 1, tokens: next };
    };
    const step = async (of: readonly number[]) => {
      const choices = await rows.step(of.map((row) => ({ ...feed(row), sampler: samplers[row] })));
      of.forEach((row, index) => {
        const choice = choices[index];
        if (choice === undefined || choice instanceof Error) throw choice ?? new Error('no choice');
        texts[row]?.push(choice.token);
      });
    };
    for (const row of [0, 1, 2, 3]) await step([row]);
    for (let token = 1; token < tokens; token++) await step(together);
    for (const row of [0, 1, 2, 3].filter((each) => !together.includes(each)))
      for (let token = 1; token < tokens; token++) await step([row]);
    for (const sampler of samplers) sampler.dispose();
    return texts;
  }

  test('is one batch of neighbours, and what is fed along changes no answer, nor what its row holds', async () => {
    const { rows, batches } = await open(true);
    const texts = await written(rows, [0, 2, 3], 30);
    expect(batches.slice(4, 33)).toEqual(Array(29).fill([0, 1, 2, 3]));
    expect(batches.slice(33)).toEqual(Array(29).fill([1]));
    for (const row of [0, 1, 2, 3]) rows.cut(row, 0);
    expect(texts).toEqual(await written(rows, [], 30));
    expect(new Set(texts.flat()).size).toBeGreaterThan(20); // the answers say something
  });

  test('feeds nothing along where a row cannot be cut again', async () => {
    const { rows, batches } = await open(false);
    await written(rows, [0, 2, 3], 3);
    expect(batches.slice(4, 6)).toEqual([
      [0, 2, 3],
      [0, 2, 3],
    ]);
  });

  test('knows what a row holds after cuts, copies and restored states', async () => {
    const { rows, batches } = await open(true);
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
    expect(await pair(20)).toEqual([0, 2]); // the idle row is deeper
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
