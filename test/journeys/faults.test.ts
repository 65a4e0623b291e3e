import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loopModel } from '../support/made-models.js';
import { RunningDaemon } from '../support/running-daemon.js';

/** An endless model, so that something is always in the middle. */
let running: RunningDaemon;
beforeAll(async () => {
  running = await RunningDaemon.start({ 'models.files': { loop: loopModel() }, 'engine.slots': 2 });
});
afterAll(() => running[Symbol.asyncDispose]());

const client = () => new OpenAI({ baseURL: running.baseUrl, apiKey: running.ownerKey, maxRetries: 0 });
const endless = (signal?: AbortSignal) =>
  client().chat.completions.create(
    { model: 'loop', messages: [{ role: 'user', content: 'go' }], stream: true },
    signal === undefined ? {} : { signal },
  );

/** The child processes that hold a model, by their parent. */
function runnerPids(): number[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();
  return children
    .split(' ')
    .map(Number)
    .filter((pid) => pid > 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('runner/main'));
}

test.skipIf(process.platform !== 'linux')(
  'a runner killed in mid-stream costs that stream an error frame; the socket stays and the next request is answered',
  async () => {
    const before = await running.call('GET', '/health');
    const stream = await endless();
    let pieces = 0;
    const reading = (async () => {
      for await (const _chunk of stream) {
        if (++pieces === 20) for (const pid of runnerPids()) process.kill(pid, 'SIGKILL');
      }
    })();
    await expect(reading).rejects.toThrow(/ran the model ended/u);
    expect(pieces).toBeGreaterThanOrEqual(20);

    const next = await client().chat.completions.create({
      model: 'loop',
      messages: [{ role: 'user', content: 'go' }],
      max_tokens: 5,
    });
    expect(next.usage?.completion_tokens).toBe(5);
    const machines = (await running.call('GET', '/v1/models/loop', { token: running.ownerKey })).json;
    expect(machines).toMatchObject({ metadata: { routable_providers: 1 } });
    expect((await running.call('GET', '/health')).json).toEqual(before.json);
  },
);

test('a client that leaves frees its row: more leave than there are rows, and the next one is answered', async () => {
  for (let leaving = 0; leaving < 6; leaving++) {
    const abort = new AbortController();
    const stream = await endless(abort.signal);
    let pieces = 0;
    for await (const _chunk of stream) if (++pieces === 3) abort.abort();
    expect(pieces).toBeGreaterThanOrEqual(3);
  }
  const answer = await client().chat.completions.create({
    model: 'loop',
    messages: [{ role: 'user', content: 'go' }],
    max_tokens: 3,
  });
  expect(answer.usage?.completion_tokens).toBe(3);
});

test('what was written for a client that left is recorded as used', async () => {
  const abort = new AbortController();
  const { data: stream, response } = await client()
    .chat.completions.create(
      { model: 'loop', messages: [{ role: 'user', content: 'go' }], stream: true },
      { signal: abort.signal },
    )
    .withResponse();
  let pieces = 0;
  for await (const _chunk of stream) if (++pieces === 12) abort.abort();
  const jobId = response.headers.get('x-inference-job-id') ?? '';
  const row = () => running.readLedger((ledger) => ledger.usageOf(jobId));
  await expect.poll(row, { timeout: 20_000 }).toMatchObject({ alias: 'loop', cost: 0n, freeSelfRoute: true });
  const tokens = running.readLedger((ledger) => ledger.usageOf(jobId))?.completionTokens ?? 0;
  expect(tokens).toBeGreaterThanOrEqual(11);
});

test('a client that leaves does not disturb the stream beside it', async () => {
  const abort = new AbortController();
  const leaving = (async () => {
    let pieces = 0;
    for await (const _chunk of await endless(abort.signal)) if (++pieces === 5) abort.abort();
  })();
  const staying = await client().chat.completions.create({
    model: 'loop',
    messages: [{ role: 'user', content: 'go' }],
    max_tokens: 200,
  });
  await leaving;
  const words = 'One two three four five six seven eight nine ten. ';
  expect(staying.choices[0]?.message.content).toBe(words.repeat(20).trimEnd().replaceAll('. One', '.One'));
  expect(staying.usage?.completion_tokens).toBe(200);
});

test('more requests than rows wait their turn and are all answered', async () => {
  const answers = await Promise.all(
    Array.from({ length: 8 }, () =>
      client().chat.completions.create({ model: 'loop', messages: [{ role: 'user', content: 'go' }], max_tokens: 30 }),
    ),
  );
  expect(answers.map(({ usage }) => usage?.completion_tokens)).toEqual(Array.from({ length: 8 }, () => 30));
});
