import { afterEach, expect, test } from 'vitest';
import type { EngineModel } from '../../src/engine/model-slot.js';
import { ModelPool } from '../../src/engine/pool.js';
import { footprint } from '../../src/inference/footprint.js';
import { GREEDY, type ChatRequest } from '../../src/inference/types.js';
import { silentLog } from '../../src/log.js';
import { readGguf } from '../../src/models/gguf.js';
import { systemClock } from '../../src/util/clock.js';
import { environment } from '../../src/config.js';
import { loopModel, sayModel } from '../support/made-models.js';

/** The engine on real runners, with memory for one model. */

let pool: ModelPool | undefined;
afterEach(() => pool?.close());

const CONTEXT = 512;

async function modelAt(alias: string, path: string): Promise<EngineModel> {
  const { shape, trainedContextTokens } = await readGguf(path);
  return { id: `local/${alias}`, alias, path, shape, trainedContextTokens, maxOutputTokens: CONTEXT };
}

async function poolForOne(): Promise<ModelPool> {
  const models = [await modelAt('say', sayModel()), await modelAt('loop', loopModel())];
  const largest = Math.max(...models.map(({ shape }) => footprint(shape, 1, CONTEXT).totalBytes));
  pool = new ModelPool(models, {
    rows: 1,
    contextTokens: CONTEXT,
    threads: 1,
    environment: { PATH: environment['PATH'] ?? '' },
    memoryLimitBytes: Math.ceil(largest * 1.5),
    clock: systemClock,
    log: silentLog(),
  });
  return pool;
}

function request(model: string, maxTokens: number): ChatRequest {
  return {
    model,
    messages: [{ role: 'user', content: 'go' }],
    sampling: GREEDY,
    stop: [],
    maxTokens,
    owner: true,
  };
}

async function textOf(engine: ModelPool, model: string, maxTokens: number): Promise<string> {
  let text = '';
  for await (const event of engine.generate(request(model, maxTokens), new AbortController().signal)) {
    if (event.type === 'text') text += event.text;
  }
  return text;
}

test('of two cold models asked at once, of which one fits, the first is served; then the other takes its place', async () => {
  const engine = await poolForOne();
  const [first] = await Promise.allSettled([textOf(engine, 'say', 3), textOf(engine, 'loop', 3)]);
  expect(first).toEqual({ status: 'fulfilled', value: 'Hello there, this' });
  expect(engine.usedBytes).toBeLessThanOrEqual(engine.memoryLimitBytes);
  const other = engine.snapshot().find(({ id }) => id === 'local/loop');
  if (other?.state === 'absent') expect(await textOf(engine, 'loop', 3)).toBe('One two three');
  else expect(other?.state).toMatch(/ready|failed/u); // served in its turn, or refused while the first still ran
});

test('a model that is idle makes room for another, and comes back when it is asked again', async () => {
  const engine = await poolForOne();
  expect(await textOf(engine, 'say', 3)).toBe('Hello there, this');
  expect(await textOf(engine, 'loop', 3)).toBe('One two three');
  expect(engine.snapshot().map(({ state }) => state)).toEqual(['absent', 'ready']);
  expect(await textOf(engine, 'say', 3)).toBe('Hello there, this');
});

test('a model that never fits is refused with the sum', async () => {
  const engine = new ModelPool([await modelAt('say', sayModel())], {
    rows: 1,
    contextTokens: CONTEXT,
    threads: 1,
    environment: {},
    memoryLimitBytes: 1,
    clock: systemClock,
    log: silentLog(),
  });
  await expect(textOf(engine, 'say', 1)).rejects.toMatchObject({
    code: 'insufficient_memory',
    message: expect.stringMatching(/needs \d+\.\d GiB, 0\.0 of 0\.0 GiB are free/u),
  });
  await engine.close();
});
