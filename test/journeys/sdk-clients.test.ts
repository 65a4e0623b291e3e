import Anthropic from '@anthropic-ai/sdk';
import Anthropic039 from 'anthropic-sdk-0-39';
import Anthropic071 from 'anthropic-sdk-0-71';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { RunningDaemon } from '../support/running-daemon.js';

const MODEL = 'darkbloom-tiny-chat';
const HELLO = [{ role: 'user' as const, content: 'Hello, Darkbloom!' }];
/** The newest SDK's types leave the parameter out; the API takes it. */
const GREEDY: object = { temperature: 0 };
const ANSWER = 'Hello! I am Darkbloom Tiny Chat. How can I help you today?';

let running: RunningDaemon;
beforeAll(async () => {
  running = await RunningDaemon.start();
});
afterAll(() => running[Symbol.asyncDispose]());

test('the OpenAI snippet runs: every chunk has a first choice, because no usage was asked for', async () => {
  const client = new OpenAI({ baseURL: running.baseUrl, apiKey: running.ownerKey });
  const response = await client.chat.completions.create({
    model: MODEL,
    messages: HELLO,
    stream: true,
    temperature: 0,
  });
  let text = '';
  for await (const chunk of response) {
    expect(chunk.choices).toHaveLength(1);
    expect(chunk.model).toBe(MODEL);
    text += chunk.choices[0]?.delta.content ?? '';
  }
  expect(text).toBe(ANSWER);
});

test('with include_usage there is exactly one chunk without choices, the last one', async () => {
  const client = new OpenAI({ baseURL: running.baseUrl, apiKey: running.ownerKey });
  const response = await client.chat.completions.create({
    model: MODEL,
    messages: HELLO,
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0,
  });
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of response) chunks.push(chunk);
  expect(chunks.filter(({ choices }) => choices.length === 0)).toEqual([chunks.at(-1)]);
  expect(chunks.at(-1)?.usage).toEqual({ prompt_tokens: 13, completion_tokens: 21, total_tokens: 34 });
});

test("OpenAI's stream helper and its list of models work", async () => {
  const client = new OpenAI({ baseURL: running.baseUrl, apiKey: running.ownerKey });
  const stream = client.chat.completions.stream({ model: MODEL, messages: HELLO, temperature: 0 });
  expect((await stream.finalChatCompletion()).choices[0]?.message.content).toBe(ANSWER);
  expect((await client.models.list()).data.map(({ id }) => id)).toEqual([MODEL]);
  expect((await client.models.retrieve(MODEL)).id).toBe(MODEL);
});

test("OpenAI's error classes follow from the status", async () => {
  const wrongKey = new OpenAI({ baseURL: running.baseUrl, apiKey: 'sk-db-wrong', maxRetries: 0 });
  await expect(wrongKey.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  const client = new OpenAI({ baseURL: running.baseUrl, apiKey: running.ownerKey, maxRetries: 0 });
  const bad = client.chat.completions.create({ model: MODEL, messages: HELLO, temperature: 9 });
  await expect(bad).rejects.toBeInstanceOf(OpenAI.BadRequestError);
  await expect(bad).rejects.toMatchObject({ param: 'temperature', type: 'invalid_request_error' });
});

/** The versions send the key as `X-Api-Key` or as a bearer, and add `/v1` to a base URL that has it. */
type Connect = (options: { baseURL: string; apiKey: string }) => Pick<Anthropic, 'messages'>;
const VERSIONS: [string, Connect][] = [
  ['0.39', (options) => new Anthropic039(options) as unknown as Anthropic],
  ['0.71', (options) => new Anthropic071(options) as unknown as Anthropic],
  ['current', (options) => new Anthropic(options)],
];

test.each(VERSIONS)('the Anthropic snippet runs with SDK %s, whole and streamed', async (_version, connect) => {
  const client = connect({ baseURL: running.baseUrl, apiKey: running.ownerKey });
  const request = { model: MODEL, max_tokens: 1024, messages: HELLO, ...GREEDY };
  const message = await client.messages.create(request);
  expect(message.content).toEqual([{ type: 'text', text: ANSWER }]);
  expect(message).toMatchObject({ type: 'message', role: 'assistant', model: MODEL, stop_reason: 'end_turn' });
  expect(message.usage).toMatchObject({ input_tokens: 13, output_tokens: 21 });

  const stream = client.messages.stream(request);
  const events: string[] = [];
  stream.on('streamEvent', (event) => events.push(event.type));
  const final = await stream.finalMessage();
  expect(final.content).toMatchObject([{ type: 'text', text: ANSWER }]);
  expect(final.usage).toMatchObject({ input_tokens: 13, output_tokens: 21 });
  expect([...new Set(events)]).toEqual([
    'message_start',
    'content_block_start',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ]);
});

test('an Anthropic stop sequence is named in the answer', async () => {
  const client = new Anthropic({ baseURL: running.url, apiKey: running.ownerKey });
  const message = await client.messages.create({
    model: MODEL,
    max_tokens: 100,
    messages: [{ role: 'user', content: 'Count to 10' }],
    stop_sequences: ['5'],
    ...GREEDY,
  });
  expect(message).toMatchObject({ stop_reason: 'stop_sequence', stop_sequence: '5' });
  expect(message.content).toMatchObject([{ type: 'text', text: '1, 2, 3, 4, ' }]);
});

test("Anthropic's error classes follow from the status and the body", async () => {
  const client = new Anthropic({ baseURL: running.url, apiKey: 'wrong', maxRetries: 0 });
  const refused = client.messages.create({ model: MODEL, max_tokens: 10, messages: HELLO });
  await expect(refused).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
});

test('what the Python SDKs send is answered: X-Api-Key and /v1/v1/messages', async () => {
  const body = { model: MODEL, max_tokens: 1024, messages: HELLO, temperature: 0 };
  for (const path of ['/v1/v1/messages', '/v1//messages/', '/v1/messages?beta=true']) {
    const answer = await running.call('POST', path, {
      headers: { 'X-Api-Key': running.ownerKey, 'anthropic-version': '2023-06-01' },
      body,
    });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ type: 'message', content: [{ type: 'text', text: ANSWER }] });
    expect(answer.headers.get('request-id')).not.toBeNull();
  }
});

test('the curl snippet streams SSE with one [DONE] at the end', async () => {
  const answer = await running.call('POST', '/v1/chat/completions', {
    token: running.ownerKey,
    body: { model: MODEL, messages: HELLO, stream: true, temperature: 0 },
  });
  expect(answer.headers.get('content-type')).toContain('text/event-stream');
  const events = answer.text.split('\n\n').filter((event) => event !== '');
  expect(events.every((event) => event.startsWith('data: '))).toBe(true);
  expect(events.filter((event) => event === 'data: [DONE]')).toHaveLength(1);
  expect(events.at(-1)).toBe('data: [DONE]');
  expect(answer.text).not.toContain('"usage"');
});

test('an authorization header wins over x-api-key, and its scheme may be written in any case', async () => {
  const headers = { 'x-api-key': 'wrong', authorization: `BEARER ${running.ownerKey}` };
  expect((await running.call('GET', '/v1/models', { headers })).status).toBe(200);
  const wrong = { 'x-api-key': running.ownerKey, authorization: 'Bearer wrong' };
  expect((await running.call('GET', '/v1/models', { headers: wrong })).status).toBe(401);
});

test('an unknown path or method is a JSON 404 without any key', async () => {
  for (const [method, path] of [
    ['POST', '/v1/moderations'],
    ['GET', '/v1/chat/completions'],
    ['GET', '/nothing'],
  ] as const) {
    const answer = await running.call(method, path);
    expect(answer.status).toBe(404);
    expect(answer.json).toMatchObject({ error: { type: 'invalid_request_error' } });
  }
});

test('a request id is echoed, or made', async () => {
  const echoed = await running.call('GET', '/health', { headers: { 'x-request-id': 'mine' } });
  expect(echoed.headers.get('x-request-id')).toBe('mine');
  expect((await running.call('GET', '/health')).headers.get('x-request-id')).toMatch(/^[0-9a-f]{12}$/);
});

test('the consumer list hides the build, the provider catalogue names it with its hash', async () => {
  const list = await running.call('GET', '/v1/models', { token: running.ownerKey });
  expect(
    z
      .object({ data: z.array(z.object({ id: z.string() })) })
      .parse(list.json)
      .data.map(({ id }) => id),
  ).toEqual([MODEL]);
  const catalog = await running.call('GET', '/v1/models/catalog?include_aliases=1');
  expect(catalog.json).toMatchObject({
    models: [{ id: 'local/darkbloom-tiny-chat-f16', format: 'gguf', active: true, file_count: 1 }],
    aliases: [{ id: MODEL, desired_build: 'local/darkbloom-tiny-chat-f16' }],
  });
  expect(catalog.headers.get('access-control-allow-origin')).toBe('*');
});
