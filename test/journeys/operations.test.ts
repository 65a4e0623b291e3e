import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { bertModel, vectorModel } from '../support/made-models.js';
import { RunningDaemon } from '../support/running-daemon.js';

/** Counting and embedding through the whole node, with tiny models. */

const CHAT = 'darkbloom-tiny-chat';
const CONTEXT = 512;

let running: RunningDaemon;
let openai: OpenAI;
let anthropic: Anthropic;
beforeAll(async () => {
  running = await RunningDaemon.start({
    'engine.context_tokens': CONTEXT,
    'provider.serve_others': true,
    'models.files': { vectors: vectorModel(), bert: bertModel() },
  });
  openai = new OpenAI({ baseURL: running.baseUrl, apiKey: running.ownerKey, maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: running.baseUrl, apiKey: running.ownerKey, maxRetries: 0 });
});
afterAll(() => running[Symbol.asyncDispose]());

const user = (content: string) => ({ role: 'user' as const, content });

describe('the count of a prompt', () => {
  test.each<[string, Pick<Anthropic.MessageCountTokensParams, 'messages' | 'system'>]>([
    ['one message', { messages: [user('Hello, Darkbloom!')] }],
    ['a system text', { system: 'You are terse.', messages: [user('Hello!')] }],
    ['turns', { messages: [user('a'), { role: 'assistant', content: 'b' }, user('<|im_end|> is text')] }],
  ])('of %s is what the answer counts, and leaves no row', async (_, asked) => {
    const before = running.countRows();
    const counted = await anthropic.messages.countTokens({ model: CHAT, ...asked });
    expect(running.countRows()).toEqual(before);
    const { usage } = await anthropic.messages.create({ model: CHAT, max_tokens: 1, ...asked });
    expect(counted.input_tokens).toBe(usage.input_tokens + (usage.cache_read_input_tokens ?? 0));
  });

  test('that does not fit is told all the same', async () => {
    const messages = [user('Darkbloom '.repeat(CONTEXT))];
    const { input_tokens } = await anthropic.messages.countTokens({ model: CHAT, messages });
    expect(input_tokens).toBeGreaterThan(CONTEXT);
    await expect(anthropic.messages.create({ model: CHAT, max_tokens: 1, messages })).rejects.toThrow(
      `${input_tokens} tokens`,
    );
  });

  test('of a conversation that is wrong is refused as its answer would be', async () => {
    const wrong = anthropic.messages.countTokens({ model: CHAT, messages: [{ role: 'assistant', content: 'I' }] });
    await expect(wrong).rejects.toBeInstanceOf(Anthropic.BadRequestError);
    const unknown = anthropic.messages.countTokens({ model: 'no-such', messages: [user('Hi')] });
    await expect(unknown).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  });
});

const cosine = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, value, index) => sum + value * (b[index] ?? Number.NaN), 0);

describe('embeddings', () => {
  const TEXTS = ['hello there', 'hello where', 'completely other stuff 12345', 'hello there'];

  test('are vectors of length 1 in the order of the texts, the same as base64 and as numbers, and alike for alike texts', async () => {
    const asText = await openai.embeddings.create({ model: 'vectors', input: TEXTS }); // the SDK asks for base64
    const asNumbers = await openai.embeddings.create({ model: 'vectors', input: TEXTS, encoding_format: 'float' });
    const vectors = asNumbers.data.map(({ embedding }) => embedding);
    expect(asText.data.map(({ embedding }) => embedding)).toEqual(vectors);
    expect(asNumbers.data.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    const [first = [], alike = [], other = [], same = []] = vectors;
    expect(first).toHaveLength(128);
    expect(cosine(first, first)).toBeCloseTo(1, 5);
    expect(same).toEqual(first);
    expect(cosine(first, alike)).toBeGreaterThan(cosine(first, other) + 0.1);
    expect(asNumbers).toMatchObject({ object: 'list', model: 'vectors' });
    expect(asNumbers.usage.prompt_tokens).toBe(asNumbers.usage.total_tokens);
  });

  test('do not depend on what else is asked', async () => {
    const ask = async (input: string[]) => (await openai.embeddings.create({ model: 'vectors', input })).data;
    const [together, alone] = await Promise.all([ask(TEXTS), ask([TEXTS[2] ?? ''])]);
    expect(alone[0]?.embedding).toEqual(together[2]?.embedding);
  });

  test('of tokens are those of the text, and tokens are what is counted', async () => {
    const letters = 'xyz'; // one byte each, which the vocabulary has after its three special ones
    const tokens = [...Buffer.from(letters)].map((byte) => 3 + byte);
    const ask = (input: string | number[]) => openai.embeddings.create({ model: 'vectors', input });
    const [ofText, ofTokens] = await Promise.all([ask(letters), ask(tokens)]);
    expect(ofTokens.usage.prompt_tokens).toBe(3);
    expect(ofText.usage.prompt_tokens).toBeLessThanOrEqual(3);
    if (ofText.usage.prompt_tokens === 3) expect(ofText.data).toEqual(ofTokens.data);
  });

  test('of an encoder are of what it reads, with the tokens around the text', async () => {
    const answer = await openai.embeddings.create({ model: 'bert', input: ['hello', 'hello', 'other'] });
    const [first, same, other] = answer.data.map(({ embedding }) => embedding);
    expect(first).toHaveLength(64);
    expect(same).toEqual(first);
    expect(other).not.toEqual(first);
    expect(answer.usage.prompt_tokens).toBe(3 * (1 + 'hello'.length + 1)); // a letter is a token
  });

  test('leave a row that says what was read and costs the owner nothing', async () => {
    const before = running.countRows();
    const { usage } = await openai.embeddings.create({ model: 'vectors', input: TEXTS });
    expect(running.countRows()).toEqual({ ...before, usage: before.usage + 1 });
    const listed = await running.call('GET', '/v1/payments/usage', { token: running.ownerKey });
    expect(z.object({ usage: z.array(z.unknown()) }).parse(listed.json).usage[0]).toMatchObject({
      model: 'vectors',
      prompt_tokens: usage.prompt_tokens,
      completion_tokens: 0,
      cost_micro_usd: 0,
    });
  });

  test('cost another account the minimum at least, and counting costs nothing', async () => {
    const { key } = await running.addAccount({ usd: 1, acceptUnattested: true });
    const client = new Anthropic({ baseURL: running.baseUrl, apiKey: key, maxRetries: 0 });
    const balance = async () => (await running.call('GET', '/v1/payments/balance', { token: key })).json;
    await client.messages.countTokens({ model: CHAT, messages: [user('Hi')] });
    expect(await balance()).toMatchObject({ balance_micro_usd: 1_000_000 });
    const body = { model: 'vectors', input: TEXTS };
    expect((await running.call('POST', '/v1/embeddings', { token: key, body })).status).toBe(200);
    expect(await balance()).toMatchObject({ balance_micro_usd: 999_900 });
  });

  const embed = (fields: object) => ({ path: '/v1/embeddings', body: { model: 'vectors', input: 'a', ...fields } });
  const chat = (model: string) => ({ path: '/v1/chat/completions', body: { model, messages: [user('Hi')] } });
  test.each<[string, { path: string; body: object }, string, string, string]>([
    [
      'of another size',
      embed({ dimensions: 64 }),
      'invalid_request_error',
      'dimensions',
      "'dimensions': the vectors of vectors have 128",
    ],
    [
      'of a chat model',
      embed({ model: CHAT }),
      'invalid_request_error',
      'model',
      'Name an embedding model: this machine has vectors, bert.',
    ],
    [
      'of a text that is too long',
      embed({ input: ['a', 'b c '.repeat(400)] }),
      'context_length_exceeded',
      'input',
      "'input.1': the text has",
    ],
    [
      'of a token that there is not',
      embed({ input: [5, 1_024] }),
      'invalid_request_error',
      'input',
      "'input.0': a token is outside",
    ],
    [
      'that are to be chat',
      chat('vectors'),
      'invalid_request_error',
      'model',
      `Name a chat model: this machine has ${CHAT}.`,
    ],
  ])('%s are refused', async (_, { path, body }, code, param, words) => {
    const answer = await running.call('POST', path, { token: running.ownerKey, body });
    expect(answer.status).toBe(400);
    const Refusal = z.object({ error: z.object({ code: z.string(), param: z.string(), message: z.string() }) });
    const { error } = Refusal.parse(answer.json);
    expect([error.code, error.param]).toEqual([code, param]);
    expect(error.message).toContain(words);
  });

  test('have a model of their own kind in the list', async () => {
    const answer = await running.call('GET', '/v1/models/vectors', { token: running.ownerKey });
    expect(answer.json).toMatchObject({
      input_modalities: ['text'],
      output_modalities: ['embedding'],
      supported_sampling_parameters: [],
      metadata: { model_type: 'embedding' },
    });
  });
});
