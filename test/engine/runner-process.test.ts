import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { environment } from '../../src/config.js';
import { RunnerProcess } from '../../src/engine/runner-process.js';
import { silentLog } from '../../src/log.js';
import { sayModel } from '../support/made-models.js';

function start(modelPath: string, signal: AbortSignal): Promise<RunnerProcess> {
  return RunnerProcess.start(
    { type: 'load', modelPath, rows: 1, contextTokens: 256, threads: 1 },
    { environment: { PATH: environment['PATH'] ?? '' }, log: silentLog(), signal },
  );
}

test('the signal of a load is listened to only until the load has ended, well or not', async () => {
  const { signal } = new AbortController();
  const runner = await start(sayModel(), signal);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  await runner.close();
  await expect(start('/nowhere/model.gguf', signal)).rejects.toMatchObject({ code: 'model_corrupt' });
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('a load that is given up ends its process', async () => {
  const abort = new AbortController();
  const loading = start(sayModel(), abort.signal);
  abort.abort();
  await expect(loading).rejects.toMatchObject({ code: 'cancelled' });
});

test('a runner says what it takes with the model in it', async () => {
  const runner = await start(sayModel(), new AbortController().signal);
  expect(runner.facts).toMatchObject({ device: expect.any(String) as string, gpuLayers: expect.any(Number) as number });
  expect(runner.memoryBytes).toBe(runner.facts.memoryBytes);
  await runner.close();
});
