import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { sayModel } from '../support/made-models.js';
import { RunningDaemon } from '../support/running-daemon.js';

/** A long prompt, asked again: through the doors, the wire and a runner of its own. */

let running: RunningDaemon;
beforeAll(async () => {
  running = await RunningDaemon.start({
    'engine.slots': 2,
    'models.files': { say: sayModel() },
    'provider.serve_others': true,
  });
});
afterAll(() => running[Symbol.asyncDispose]());

const ChatUsage = z.object({
  usage: z.object({
    prompt_tokens: z.number(),
    prompt_tokens_details: z.object({ cached_tokens: z.number() }).optional(),
  }),
});
const MessagesUsage = z.object({
  usage: z.object({ input_tokens: z.number(), cache_read_input_tokens: z.number().optional() }),
});

function body(prompt: string) {
  return { model: 'say', messages: [{ role: 'user', content: prompt }], max_tokens: 3 };
}

async function chat(prompt: string, token: string) {
  const { json } = await running.call('POST', '/v1/chat/completions', { token, body: body(prompt) });
  const { usage } = ChatUsage.parse(json);
  return { prompt: usage.prompt_tokens, cached: usage.prompt_tokens_details?.cached_tokens };
}

test('tells what was in the cache, to both dialects, in one account', async () => {
  const prompt = '0123456789'.repeat(30);
  const first = await chat(prompt, running.ownerKey);
  expect(first.cached).toBeUndefined();
  const second = await chat(prompt, running.ownerKey);
  expect(second).toEqual({ prompt: first.prompt, cached: first.prompt - 1 });
  const { json } = await running.call('POST', '/v1/messages', { token: running.ownerKey, body: body(prompt) });
  expect(MessagesUsage.parse(json).usage).toEqual({ input_tokens: 1, cache_read_input_tokens: first.prompt - 1 });
});

test('finds nothing of another account', async () => {
  const prompt = 'abcdefghij'.repeat(30);
  const guest = await running.addAccount({ usd: 1, acceptUnattested: true });
  await chat(prompt, running.ownerKey);
  expect((await chat(prompt, guest.key)).cached).toBeUndefined();
  expect((await chat(prompt, guest.key)).cached).toBeGreaterThan(0);
});
