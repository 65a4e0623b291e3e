import { describe, expect, test } from 'vitest';
import { GREEDY, PLAIN } from '../../src/inference/types.js';
import { openRuntime } from '../../src/runner/llama-runtime.js';
import type { Feed, Runtime } from '../../src/runner/runtime.js';
import { warmUp } from '../../src/runner/warm-up.js';
import { hybridModel, quantizedModel, windowModel } from '../support/made-models.js';
import { runOrders } from '../support/run-orders.js';

/** On a CPU, where it is not needed; a GPU is used the same way. */

const asked = [1, 2, 3].map((seed) => ({
  type: 'generate' as const,
  messages: [{ role: 'user' as const, content: `go ${seed}` }],
  sampling: { ...GREEDY, temperature: 1, seed },
  stop: [],
  ...PLAIN,
  maxTokens: 30,
}));

async function opened<T>(modelPath: string, contextTokens: number, use: (runtime: Runtime) => Promise<T>): Promise<T> {
  const order = { type: 'load', modelPath, rows: 3, contextTokens, threads: 1, gpuLayers: 0 } as const;
  const runtime = await openRuntime(order, () => undefined);
  try {
    return await use(runtime);
  } finally {
    await runtime.close();
  }
}

describe('warming up', () => {
  test('computes a prompt and a token after it', async () => {
    const batches: (readonly Feed[])[] = [];
    await opened(quantizedModel(), 512, async (runtime) => {
      const step = (feeds: readonly Feed[]) => {
        batches.push(feeds);
        return runtime.step(feeds);
      };
      await warmUp({ ...runtime, step });
    });
    expect(batches).toMatchObject([
      [{ row: 0, position: 0, tokens: { length: 128 } }],
      [{ row: 0, position: 128, tokens: { length: 1 } }],
    ]);
  });

  test.each([
    ['that can be cut anywhere', quantizedModel],
    ['with a sliding window', windowModel],
    ['with recurrent layers', hybridModel],
  ])('leaves nothing in the rows of a model %s', async (_, model) => {
    await opened(model(), 512, async (runtime) => {
      const before = await runOrders(runtime, asked, 1);
      for (let row = 0; row < 3; row++) runtime.cut(row, 0);
      await warmUp(runtime);
      const after = await runOrders(runtime, asked, 1);
      expect(after.map(({ text }) => text)).toEqual(before.map(({ text }) => text));
    });
  });

  test('fits into the smallest context', async () => {
    await opened(quantizedModel(), 16, warmUp);
  });
});
