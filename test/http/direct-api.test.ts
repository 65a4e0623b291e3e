import { describe, expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { createDirectApi } from '../../src/http/direct-api.js';
import { PAGE_HEADERS } from '../../src/http/page-guard.js';
import { silentLog } from '../../src/log.js';
import { overAPort } from '../support/over-a-port.js';
import { ScriptedGenerator } from '../support/scripted-generators.js';

const TOKEN = 'dk-local-of-a-test';
const authorized = { authorization: `Bearer ${TOKEN}` };
const chat = { model: 'tiny', messages: [{ role: 'user', content: 'Hello!' }] };

function endpoint(generator = new ScriptedGenerator({ says: ['Hel', 'lo'] }), refuse: () => void = () => undefined) {
  const app = createDirectApi({
    generator,
    models: () => [{ alias: 'tiny' }, { alias: 'big' }],
    token: TOKEN,
    refuse,
    coordinatorUrl: 'http://studio.local:8787',
    host: '127.0.0.1',
    version: '0.7.0',
    now: () => 1_782_054_245_678,
    log: silentLog(),
  });
  const call = (method: string, path: string, headers: Record<string, string> = {}, body?: object) =>
    overAPort(app, path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return { generator, app, call };
}

describe('the token', () => {
  test.each([
    ['Bearer', authorized],
    ['bearer in small letters', { authorization: `bearer ${TOKEN}` }],
    ['x-api-key', { 'x-api-key': TOKEN }],
    ['Bearer, whatever the other header says', { ...authorized, 'x-api-key': 'wrong' }],
  ])('is taken as %s', async (_, headers) => {
    const { call } = endpoint();
    expect((await call('GET', '/v1/models', headers)).status).toBe(200);
  });

  test.each<[string, Record<string, string>]>([
    ['missing', {}],
    ['empty', { authorization: 'Bearer ' }],
    ['wrong', { authorization: `Bearer ${TOKEN}x` }],
    ['wrong, of the same length', { 'x-api-key': TOKEN.replace('d', 'e') }],
    ['cut short', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
    ['of another scheme', { authorization: `Basic ${TOKEN}` }],
    ['right only in the header that does not count', { authorization: 'Bearer wrong', 'x-api-key': TOKEN }],
  ])('that is %s is refused everywhere, and no request reaches the engine', async (_, headers) => {
    const { call, generator } = endpoint();
    for (const [method, path] of [
      ['GET', '/v1/models'],
      ['POST', '/v1/chat/completions'],
      ['POST', '/v1/messages'],
      ['POST', '/v1/messages/count_tokens'],
      ['POST', '/v1/embeddings'],
    ] as const) {
      const response = await call(method, path, headers, method === 'POST' ? chat : undefined);
      expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
      expect(await response.json()).toMatchObject({ error: { type: 'authentication_error' } });
    }
    expect(generator.requests).toEqual([]);
  });

  test.each(['/', '/health', '/v1/health'])('is not needed for %s', async (path) => {
    const { call } = endpoint();
    expect(await (await call('GET', path)).json()).toEqual({ status: 'ok', mode: 'direct', version: '0.7.0' });
    expect((await call('HEAD', path)).status).toBe(200);
  });
});

test('the models are listed by name, whether they are loaded or not', async () => {
  const { call } = endpoint();
  const entry = (id: string) => ({ id, object: 'model', created: 0, owned_by: 'self' });
  expect(await (await call('GET', '/v1/models', authorized)).json()).toEqual({
    object: 'list',
    data: [entry('big'), entry('tiny')],
  });
});

describe('a request', () => {
  test('for chat is answered as one body, and is the owner’s whatever it says', async () => {
    const { call, generator } = endpoint();
    const body = { ...chat, max_tokens: 2, darkbloom: { owner: false, cache_scope: 'of a client' } };
    const response = await call('POST', '/v1/chat/completions', authorized, body);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      object: 'chat.completion',
      created: 1_782_054_245,
      model: 'tiny',
      choices: [{ message: { role: 'assistant', content: 'Hello' }, finish_reason: 'length' }],
      usage: { prompt_tokens: 11, completion_tokens: 2, total_tokens: 13 },
    });
    expect(generator.requests).toMatchObject([{ model: 'tiny', maxTokens: 2, owner: true }]);
    expect(generator.requests[0]?.cacheScope).toMatch(/^[0-9a-f-]{36}$/u);
  });

  test.each([true, false])('for a stream has a usage chunk if it was asked for: %s', async (include_usage) => {
    const { call } = endpoint();
    const body = { ...chat, stream: true, stream_options: { include_usage } };
    const response = await call('POST', '/v1/chat/completions', authorized, body);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const text = await response.text();
    expect(text.includes('"usage":{"prompt_tokens":11')).toBe(include_usage);
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  test('for messages is lowered to chat and answered in its own shape', async () => {
    const { call, generator } = endpoint(new ScriptedGenerator({ says: ['Hel', 'lo'], stopSequence: 'END' }));
    const body = { ...chat, system: 'Be brief.', max_tokens: 9, stop_sequences: ['END'] };
    const response = await call('POST', '/v1/messages', authorized, body);
    expect(await response.json()).toMatchObject({
      type: 'message',
      role: 'assistant',
      model: 'tiny',
      content: [{ type: 'text', text: 'Hello' }],
      stop_reason: 'stop_sequence',
      stop_sequence: 'END',
      usage: { input_tokens: 11, output_tokens: 2 },
    });
    expect(generator.requests).toMatchObject([
      { messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user' }], stop: ['END'], owner: true },
    ]);
  });

  test.each([
    ['/v1/responses', { model: 'tiny', input: 'Hello!' }, { object: 'response', status: 'completed' }],
    ['/v1/chat/completions', { model: 'tiny', input: 'Hello!' }, { object: 'response', status: 'completed' }],
    [
      '/v1/completions',
      { model: 'tiny', prompt: 'Hello!' },
      { object: 'text_completion', choices: [{ text: 'Hello', finish_reason: 'stop' }] },
    ],
  ])('to %s with %j is lowered to chat and answered in its own shape', async (path, body, expected) => {
    const { call, generator } = endpoint();
    const response = await call('POST', path, authorized, body);
    expect(await response.json()).toMatchObject(expected);
    expect(generator.requests).toMatchObject([{ messages: chat.messages, owner: true }]);
  });

  test.each([
    ['/v1/responses', { input: 'Hello!', max_output_tokens: 2 }, { status: 'incomplete' }],
    ['/v1/completions', { prompt: 'Hello!', max_tokens: 2 }, { choices: [{ finish_reason: 'length' }] }],
    ['/v1/chat/completions', { ...chat, max_completion_tokens: 2 }, { choices: [{ finish_reason: 'length' }] }],
  ])('to %s with %j says that its bound was reached', async (path, body, expected) => {
    const response = await endpoint().call('POST', path, authorized, { model: 'tiny', ...body });
    expect(await response.json()).toMatchObject(expected);
  });

  test.each([
    ['/v1/responses', { model: 'tiny' }, 'input'],
    ['/v1/responses', { model: 'tiny', input: 'Hello!', max_output_tokens: 0 }, 'max_output_tokens'],
    ['/v1/completions', { model: 'tiny', messages: [] }, 'prompt'],
    ['/v1/chat/completions', { model: 'tiny' }, 'messages'],
    ['/v1/chat/completions', { ...chat, temperature: 3 }, 'temperature'],
    ['/v1/messages', { model: 'tiny', messages: 'Hello!' }, 'messages'],
    ['/v1/messages', { ...chat, temperature: 3 }, 'temperature'],
  ])('to %s that is wrong is refused, naming the field', async (path, body, param) => {
    const { call, generator } = endpoint();
    const response = await call('POST', path, authorized, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error', param } });
    expect(generator.requests).toEqual([]);
  });

  test('that the engine refuses has the engine’s status', async () => {
    const refused = new DarkbloomError('model_not_found', 'There is no model.', { param: 'model' });
    const { call } = endpoint(new ScriptedGenerator({ breaksWith: refused }));
    const response = await call('POST', '/v1/chat/completions', authorized, { ...chat, stream: true });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { type: 'model_not_found', param: 'model' } });
  });

  test.each([
    ['/v1/chat/completions', chat, 'messages'],
    ['/v1/responses', { model: 'tiny', input: 'Hello!' }, 'input'],
    ['/v1/completions', { model: 'tiny', prompt: 'Hello!' }, 'prompt'],
  ])('to %s that is too long names the field of its prompt', async (path, body, param) => {
    const refused = new DarkbloomError('context_length_exceeded', '9 of 8', { param: 'messages' });
    const { call } = endpoint(new ScriptedGenerator({ breaksWith: refused }));
    const response = await call('POST', path, authorized, { ...body, stream: true });
    expect([response.status, await response.json()]).toMatchObject([400, { error: { param } }]);
  });

  test('of a client that leaves is cancelled in the engine', async () => {
    const { app } = endpoint(new ScriptedGenerator({ hangs: true }));
    const leaving = new AbortController();
    const answer = app.request(
      new Request('http://127.0.0.1/v1/chat/completions', {
        method: 'POST',
        headers: authorized,
        body: JSON.stringify(chat),
        signal: leaving.signal,
      }),
    );
    leaving.abort();
    expect((await answer).status).toBe(499);
  });

  test('is refused while the provider drains, with the time to come back', async () => {
    const { call, generator } = endpoint(undefined, () => {
      throw new DarkbloomError('draining', 'It stops after what runs now.', { retryAfterS: 3 });
    });
    for (const path of ['/v1/chat/completions', '/v1/messages']) {
      const response = await call('POST', path, authorized, { ...chat, max_tokens: 1 });
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, '3']);
    }
    expect(generator.requests).toEqual([]);
    expect((await call('GET', '/v1/models', authorized)).status).toBe(200);
  });
});

describe('a page of any origin', () => {
  const origin = { origin: 'https://example.com' };

  test('may ask what it may send', async () => {
    const { call } = endpoint();
    const asked = 'authorization,content-type,x-api-key,anthropic-version';
    const response = await call('OPTIONS', '/v1/chat/completions', {
      ...origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': asked,
    });
    expect(response.status).toBe(204);
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect(response.headers.get('access-control-allow-methods')).toBe('GET,POST,HEAD,OPTIONS');
    expect(response.headers.get('access-control-allow-headers')).toBe(asked);
    expect(response.headers.get('access-control-allow-credentials')).toBeNull();
  });

  test.each([
    ['an answer', 'POST', '/v1/chat/completions', 200],
    ['a stream', 'POST', '/v1/messages', 200],
    ['the health', 'GET', '/health', 200],
    ['an error', 'GET', '/v1/models', 401],
    ['a path that is none', 'GET', '/v1/nothing', 404],
  ])('may read %s', async (_, method, path, status) => {
    const { call } = endpoint();
    const post = method === 'POST';
    const response = await call(
      method,
      path,
      { ...origin, ...(post ? authorized : {}) },
      post ? { ...chat, max_tokens: 9, stream: path === '/v1/messages' } : undefined,
    );
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([status, '*']);
  });
});

describe('an operation', () => {
  test('counts a prompt, never as a stream', async () => {
    const { call, generator } = endpoint(new ScriptedGenerator({ result: { op: 'count', promptTokens: 13 } }));
    const response = await call('POST', '/v1/messages/count_tokens', authorized, { ...chat, stream: true });
    expect(await response.json()).toEqual({ input_tokens: 13 });
    expect(generator.operations).toMatchObject([{ op: 'count', request: { model: 'tiny', owner: true } }]);
    expect(generator.requests).toEqual([]);
  });

  test('makes vectors', async () => {
    const vectors = [Float32Array.of(1, 0), Float32Array.of(0, 1)];
    const { call, generator } = endpoint(new ScriptedGenerator({ result: { op: 'embed', promptTokens: 3, vectors } }));
    const body = { model: 'tiny', input: ['a', 'b'], darkbloom: { op: 'count', owner: false } };
    const response = await call('POST', '/v1/embeddings', authorized, body);
    expect(await response.json()).toMatchObject({
      object: 'list',
      model: 'tiny',
      data: [
        { index: 0, embedding: [1, 0] },
        { index: 1, embedding: [0, 1] },
      ],
      usage: { prompt_tokens: 3, total_tokens: 3 },
    });
    expect(generator.operations).toMatchObject([{ op: 'embed', request: { inputs: ['a', 'b'], owner: true } }]);
  });

  test.each([
    ['/v1/messages/count_tokens', { ...chat, tools: 5 }, { type: 'error', error: { param: 'tools' } }],
    ['/v1/embeddings', { model: 'tiny', input: '' }, { error: { param: 'input' } }],
  ])('on %s that is wrong is refused in the shape of its API', async (path, body, error) => {
    const { call, generator } = endpoint();
    const response = await call('POST', path, authorized, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject(error);
    expect(generator.operations).toEqual([]);
  });
});

describe('a browser at `/`', () => {
  const browser = { accept: 'text/html,*/*;q=0.8', host: '127.0.0.1:8000' };

  test('is told where the console is, and no other site can read that', async () => {
    const answer = await endpoint().call('GET', '/', browser);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
    for (const [name, value] of Object.entries(PAGE_HEADERS)) expect(answer.headers.get(name)).toBe(value);
    expect(await answer.text()).toContain('<a href="http://studio.local:8787">http://studio.local:8787</a>');
  });

  test('gets its stylesheet and no script', async () => {
    const { call } = endpoint();
    expect((await call('GET', '/pages/pages.css')).headers.get('content-type')).toMatch(/^text\/css/u);
    expect((await call('GET', '/pages/console.js')).status).toBe(404);
  });

  test('under a foreign name is told nothing', async () => {
    const answer = await endpoint().app.request('/', { headers: { ...browser, host: 'evil.example' } });
    expect(answer.status).toBe(403);
    expect(await answer.text()).not.toContain('studio');
  });

  test('is told apart from a program, which still gets its JSON', async () => {
    const answer = await endpoint().call('GET', '/', { accept: '*/*' });
    expect(await answer.json()).toEqual({ status: 'ok', mode: 'direct', version: '0.7.0' });
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
  });
});
