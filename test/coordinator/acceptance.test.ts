import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { machineIdOf } from '../../src/coordinator/accounts.js';
import { eventually } from '../support/eventually.js';
import { BUILD, ScriptedProvider } from './scripted-provider.js';
import { knownModel, StartedCoordinator } from './started-coordinator.js';

/** What the contract asks of a coordinator at the least, as far as no model is needed: the machine is played. The
 *  snippets of the README run in test/journeys/sdk-clients.test.ts, the billing vectors in billing.test.ts and
 *  ledger.test.ts. */

const MODEL = 'tiny';
const HELLO = [{ role: 'user' as const, content: 'Hello!' }];

let stage: StartedCoordinator;
let machine: ScriptedProvider;
beforeEach(async () => {
  stage = await StartedCoordinator.start({ models: [knownModel(BUILD)] });
  const { accounts, owner, fleet } = stage.coordinator;
  machine = new ScriptedProvider({
    clock: stage.clock,
    accountId: owner.id,
    machineId: machineIdOf(accounts.mintProviderToken(owner.id, 'test')),
    changed: () => fleet.changed(),
    rows: 4,
  }).ready();
  fleet.add(machine.session);
});
afterEach(() => stage[Symbol.asyncDispose]());

const openai = () => new OpenAI({ baseURL: `${stage.coordinator.url}/v1`, apiKey: stage.ownerToken });
const anthropic = () => new Anthropic({ baseURL: `${stage.coordinator.url}/v1`, apiKey: stage.ownerToken });

describe('include_usage true → exactly one choices:[] chunk, just before [DONE]; false → none', () => {
  test.each([true, false])('%s', async (includeUsage) => {
    const answering = stage.ask('POST', '/v1/chat/completions', {
      token: stage.ownerToken,
      body: { model: MODEL, messages: HELLO, stream: true, stream_options: { include_usage: includeUsage } },
      asText: true,
    });
    const request = await machine.request();
    request.write('Hi');
    request.finish('stop');
    request.complete({ prompt_tokens: 3, completion_tokens: 1 });
    const frames = ((await answering).json as string).trimEnd().split('\n\n');
    const empty = frames.flatMap((frame, index) => (frame.includes('"choices":[]') ? [index] : []));
    expect(frames.at(-1)).toBe('data: [DONE]');
    expect(empty).toEqual(includeUsage ? [frames.length - 2] : []);
  });
});

describe('both SDKs: mid-stream provider crash surfaces as an exception, client abort cancels generation', () => {
  /** A stream of either SDK: how its text is read, and how it is left. */
  const clients = {
    openai: async () => {
      const stream = await openai().chat.completions.create({ model: MODEL, messages: HELLO, stream: true });
      return { stream: stream as AsyncIterable<unknown>, leave: () => stream.controller.abort() };
    },
    anthropic: async () => {
      const stream = await anthropic().messages.create({ model: MODEL, messages: HELLO, stream: true, max_tokens: 9 });
      return { stream: stream as AsyncIterable<unknown>, leave: () => stream.controller.abort() };
    },
  };

  test.each(['openai', 'anthropic'] as const)('crash, with the SDK of %s', async (name) => {
    const opening = clients[name]();
    const request = await machine.request();
    request.write('Hel');
    const { stream } = await opening;
    const reading = (async () => {
      for await (const _event of stream) stage.coordinator.fleet.remove(machine.session);
    })();
    await expect(reading).rejects.toThrow(/provider disconnected/u);
    expect(stage.usage(stage.coordinator.owner.id)).toEqual([]);
  });

  test.each(['openai', 'anthropic'] as const)('abort, with the SDK of %s', async (name) => {
    const opening = clients[name]();
    const request = await machine.request();
    request.write('Hel');
    const { stream, leave } = await opening;
    for await (const _event of stream) leave();
    await eventually('the machine is told to stop', () => machine.cancelled.includes(request.id) || undefined);
    request.complete({ prompt_tokens: 3, completion_tokens: 1 });
    await eventually('the request has ended', () => stage.coordinator.requestsRunning === 0 || undefined);
  });
});

test.each([
  ['POST', '/v1/moderations'],
  ['GET', '/v1/chat/completions'],
])('%s %s → JSON 404, no auth needed', async (method, path) => {
  expect(await stage.call(method, path)).toMatchObject({
    status: 404,
    json: { error: { type: 'invalid_request_error', message: expect.stringContaining(`${method} ${path}`) as string } },
  });
});

test('sealed requests are refused with what to do, and there is no key to seal them to', async () => {
  const refused = { status: 503, json: { error: { type: 'encryption_unavailable', code: 'encryption_unavailable' } } };
  expect(await stage.call('GET', '/v1/encryption-key')).toMatchObject(refused);
  const headers = { 'content-type': 'application/eigeninference-sealed+json' };
  const sealed = { token: stage.ownerToken, body: '{}', headers };
  expect(await stage.call('POST', '/v1/chat/completions', sealed)).toMatchObject(refused);
  expect(await stage.call('POST', '/v1/chat/completions', { ...sealed, token: 'wrong' })).toMatchObject({
    status: 401,
  });
});

test.each([
  ['/v1/chat/completions', { messages: HELLO }],
  ['/v1/completions', { prompt: 'Hello!' }],
  ['/v1/responses', { input: 'Hello!' }],
  ['/v1/messages', { messages: HELLO, max_tokens: 9 }],
])('an answer of %s says who wrote it, and where its time went', async (path, body) => {
  const answering = stage.ask('POST', path, { token: stage.ownerToken, body: { model: MODEL, ...body } });
  const request = await machine.request();
  request.write('Hi');
  request.complete({ prompt_tokens: 3, completion_tokens: 1 });
  const { headers } = await answering;
  expect(Object.fromEntries(headers)).toMatchObject({
    'x-inference-job-id': expect.any(String) as string,
    'x-provider-id': machine.session.id,
    'x-provider-encrypted': 'true',
    'x-provider-attested': 'false',
    'x-provider-trust-level': 'none',
    'x-provider-secure-enclave': 'false',
    'x-provider-chip': 'Apple M4 Max',
    'x-provider-model': 'Mac16,5',
  });
  const timing = JSON.parse(headers.get('x-timing') ?? '') as Record<string, number>;
  expect(Object.keys(timing)).toEqual(['parse_us', 'reserve_us', 'queue_us', 'provider_us']);
  for (const us of Object.values(timing)) expect(us).toBeGreaterThanOrEqual(0);
});

describe('self request', () => {
  const ask = () =>
    openai().chat.completions.create({ model: MODEL, messages: HELLO }, { headers: { 'X-Darkbloom-Route': 'self' } });

  test('zero ledger rows, one usage row at 0', async () => {
    const answering = ask();
    const request = await machine.request();
    request.write('Hi');
    request.complete({ prompt_tokens: 3, completion_tokens: 1 });
    expect((await answering).choices[0]?.message.content).toBe('Hi');
    const { ledger, owner } = stage.coordinator;
    expect(ledger.rows(owner.id)).toEqual([]);
    expect(stage.usage(owner.id)).toMatchObject([{ cost: 0n, routeMode: 'self', freeSelfRoute: true }]);
  });

  test('with the machine stopped → 503 machine_offline promptly (no SDK retry sleep)', async () => {
    stage.coordinator.fleet.remove(machine.session);
    let requests = 0;
    const client = new OpenAI({
      baseURL: `${stage.coordinator.url}/v1`,
      apiKey: stage.ownerToken,
      fetch: (url, init) => {
        requests++;
        return fetch(url, init);
      },
    });
    const asking = client.chat.completions.create(
      { model: MODEL, messages: HELLO },
      { headers: { 'X-Darkbloom-Route': 'self' } },
    );
    await expect(asking).rejects.toMatchObject({ status: 503, code: 'machine_offline' });
    expect(requests).toBe(1); // with the SDK's own two retries allowed
  });
});
