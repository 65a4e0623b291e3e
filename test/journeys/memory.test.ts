import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { loopModel, sayModel } from '../support/made-models.js';
import { RunningDaemon } from '../support/running-daemon.js';

/** Memory as an owner sees it: through the daemon, its coordinator and `status`. */

const TWO = {
  'models.files': { say: sayModel(), loop: loopModel() },
  'engine.slots': 1,
  'engine.context_tokens': 512,
  'engine.threads': 1,
};

const modelOf = (running: RunningDaemon, alias: string) =>
  running.daemon.status().models.find((model) => model.alias === alias) ?? expect.fail(`no model ${alias}`);

function chat(running: RunningDaemon, model: string, more: object = {}, signal?: AbortSignal): Promise<Response> {
  return fetch(`${running.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${running.ownerKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'go' }], temperature: 0, ...more }),
    ...(signal === undefined ? {} : { signal }),
  });
}

test('a request for a second model waits until the first is idle, and is then answered in its place', async () => {
  await using running = await RunningDaemon.start({ ...TWO, 'engine.max_loaded_models': 1 });
  const abort = new AbortController();
  const loop = await chat(running, 'loop', { stream: true }, abort.signal);
  expect(loop.status).toBe(200);
  const say = chat(running, 'say');
  await eventually('say waits for memory', () => modelOf(running, 'say').state === 'waiting' || undefined);
  abort.abort();
  await loop.text().catch(() => undefined);
  expect(await (await say).json()).toMatchObject({
    choices: [{ message: { content: 'Hello there, this is a deterministic test reply.' } }],
  });
  expect(modelOf(running, 'loop').state).toBe('absent');
});

test('a model to keep is in memory without a request; status shows it with its sums', async () => {
  await using running = await RunningDaemon.start({ ...TWO, 'models.keep_loaded': 'say' });
  await eventually('it is loaded', () => modelOf(running, 'say').state === 'ready' || undefined);
  const { memory } = running.daemon.status();
  const say = modelOf(running, 'say');
  expect(say).toMatchObject({ kept: true, memory_measured: true });
  expect(say).not.toHaveProperty('unloads_at');
  expect(say.memory_predicted?.weights_bytes).toBeGreaterThan(0);
  expect(memory.used_bytes).toBe(say.memory_bytes);
  expect(modelOf(running, 'loop')).toMatchObject({ kept: false, memory_measured: false });
});

describe('what the owner must mend stops the start', () => {
  test.each([
    ['a model to keep that is not there', { 'models.keep_loaded': 'nobody' }, "no model named 'nobody'. It has: "],
    [
      'models to keep that do not fit',
      { 'models.keep_loaded': ['say', 'loop'], 'engine.memory_limit_gb': '0.25' },
      'all models may take 0.3 GiB (the limit is engine.memory_limit_gb)',
    ],
    [
      'more memory than there is',
      { 'engine.memory_limit_gb': 4_096 },
      'engine.memory_limit_gb: 4096 GB is more than the ',
    ],
  ])('%s', async (_, settings, words) => {
    await expect(RunningDaemon.start({ ...TWO, ...settings })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining(words) as string,
    });
  });
});
