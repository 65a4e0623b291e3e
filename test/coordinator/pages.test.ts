import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { PAGE_HEADERS } from '../../src/http/page-guard.js';
import { StartedCoordinator } from './started-coordinator.js';

let house: StartedCoordinator;
beforeEach(async () => {
  house = await StartedCoordinator.start();
});
afterEach(() => house[Symbol.asyncDispose]());

interface Sent {
  body?: object;
  headers?: Record<string, string>;
}

/** One request with exactly these headers: what `fetch` would not let through. */
function send(method: string, path: string, { body, headers = {} }: Sent = {}) {
  return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; text: string }>((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const sent = request(
      {
        host: '127.0.0.1',
        port: house.coordinator.port,
        method,
        path,
        headers: { ...headers, 'content-length': String(text.length) },
      },
      (answer) => {
        let said = '';
        answer.setEncoding('utf8').on('data', (piece: string) => (said += piece));
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text: said }));
      },
    );
    sent.on('error', reject);
    sent.end(text);
  });
}

/** What a page of ours says of itself. */
const ownPage = () => ({ origin: house.coordinator.url, 'sec-fetch-site': 'same-origin' });

async function cookieOf(body: object): Promise<string> {
  const answer = await send('POST', '/pages/session', { body, headers: ownPage() });
  expect(answer.status).toBe(200);
  const [cookie = ''] = z.array(z.string()).parse(answer.headers['set-cookie']);
  return cookie;
}

/** `name=value` of a new session of the owner. */
async function session(): Promise<string> {
  return (await cookieOf({ token: house.ownerToken })).split(';', 1)[0] ?? '';
}

async function mintCode(headers: Record<string, string> = {}): Promise<{ id: string; code: string }> {
  const bearer = { authorization: `Bearer ${house.ownerToken}`, ...headers };
  const answer = await send('POST', '/pages/codes', { headers: bearer });
  expect(answer.status).toBe(200);
  return z.object({ id: z.string(), code: z.string() }).parse(JSON.parse(answer.text));
}

describe('what a browser may load', () => {
  test.each([
    ['/', 'text/html'],
    ['/link', 'text/html'],
    ['/pages/console.js', 'text/javascript'],
    ['/pages/preact.js', 'text/javascript'],
    ['/pages/pages.css', 'text/css'],
    ['/pages/icon.svg', 'image/svg+xml'],
  ])('%s is there, with every header that protects it', async (path, type) => {
    const { status, headers, text } = await send('GET', path);
    expect(status).toBe(200);
    expect(headers['content-type']).toContain(type);
    for (const [name, value] of Object.entries(PAGE_HEADERS)) expect(headers[name.toLowerCase()]).toBe(value);
    expect(headers['access-control-allow-origin']).toBeUndefined();
    expect(text).not.toMatch(/https?:\/\/(?!www\.w3\.org\/(2000\/svg|1998\/Math|1999\/xhtml))/u);
  });

  test.each([
    '/pages/',
    '/pages/api.ts',
    '/pages/..%2f..%2fpackage.json',
    '/pages/console.js.map',
    '/pages/nothing.js',
    '/pages/a/b.js',
  ])('%s is not', async (path) => {
    expect((await send('GET', path)).status).toBe(404);
  });

  test.each(['/', '/link', '/pages/console.js', '/pages/session'])(
    '%s is not shown under a foreign name',
    async (path) => {
      const answer = await send('GET', path, { headers: { host: `evil.example:${house.coordinator.port}` } });
      expect(answer.status).toBe(403);
      expect(answer.text).not.toContain('<');
    },
  );
});

describe('signing in', () => {
  test('the cookie is for this browser, this site and this run alone', async () => {
    const cookie = await cookieOf({ token: house.ownerToken });
    expect(cookie).toMatch(/^darkbloom_session_\d+=[0-9a-f]{64}; Path=\/; HttpOnly; SameSite=Strict$/u);
    expect(cookie).toContain(`_${house.coordinator.port}=`);
  });

  test('by a code, once', async () => {
    const { id, code } = await mintCode();
    const bearer = { authorization: `Bearer ${house.ownerToken}` };
    const isOpen = async () =>
      JSON.parse((await send('GET', `/pages/codes/${id}`, { headers: bearer })).text) as unknown;
    expect(await isOpen()).toEqual({ open: true });
    const cookie = await cookieOf({ code });
    expect(await isOpen()).toEqual({ open: false });
    const state = await send('GET', '/pages/session', { headers: { cookie: cookie.split(';', 1)[0] ?? '' } });
    expect(JSON.parse(state.text)).toEqual({ signed_in: true, account: 'owner', owner: true });
    expect((await send('POST', '/pages/session', { body: { code }, headers: ownPage() })).status).toBe(401);
  });

  test('a code is over after two minutes', async () => {
    const { code } = await mintCode();
    house.clock.turn(2 * 60_000);
    expect((await send('POST', '/pages/session', { body: { code }, headers: ownPage() })).status).toBe(401);
  });

  test('a code is neither made nor used under another address than loopback, and is not used up by the try', async () => {
    const lan = `192.168.1.7:${house.coordinator.port}`;
    const bearer = { authorization: `Bearer ${house.ownerToken}` };
    expect((await send('POST', '/pages/codes', { headers: { ...bearer, host: lan } })).status).toBe(403);
    const { code } = await mintCode();
    const there = { host: lan, origin: `http://${lan}` };
    expect((await send('POST', '/pages/session', { body: { code }, headers: there })).status).toBe(403);
    await cookieOf({ code });
  });

  test('a code needs a login token: no key, no cookie, nothing', async () => {
    const key = house.coordinator.accounts.keys.create(house.coordinator.owner.id, undefined).secret;
    expect((await send('POST', '/pages/codes', { headers: { authorization: `Bearer ${key}` } })).status).toBe(403);
    expect((await send('POST', '/pages/codes', { headers: { ...ownPage(), cookie: await session() } })).status).toBe(
      401,
    );
    expect((await send('POST', '/pages/codes')).status).toBe(401);
  });

  test.each<[string, object, number]>([
    ['nothing', {}, 400],
    ['a number', { token: 7 }, 400],
    ['a wrong token', { token: 'nonsense' }, 401],
    ['a wrong code', { code: 'nonsense' }, 401],
  ])('%s opens no session', async (_, body, status) => {
    const answer = await send('POST', '/pages/session', { body, headers: ownPage() });
    expect(answer.status).toBe(status);
    expect(answer.headers['set-cookie']).toBeUndefined();
  });

  test.each<[string, Record<string, string>]>([
    ['another site', { origin: 'https://evil.example' }],
    ['another port of this machine', { origin: 'http://127.0.0.1:9', 'sec-fetch-site': 'same-site' }],
    ['nobody knows where', {}],
  ])('%s cannot sign anybody in or out', async (_, headers) => {
    const cookie = await session();
    const body = { token: house.ownerToken };
    expect((await send('POST', '/pages/session', { body, headers })).status).toBe(403);
    expect((await send('DELETE', '/pages/session', { headers: { ...headers, cookie } })).status).toBe(403);
    expect((await send('GET', '/v1/keys', { headers: { cookie } })).status).toBe(200);
  });

  test('an account of another person gets its own, and not the key of the owner', async () => {
    const anna = house.coordinator.accounts.add('anna', { acceptUnattested: false });
    const token = house.coordinator.accounts.mintLoginToken(anna.id);
    const cookie = (await cookieOf({ token })).split(';', 1)[0] ?? '';
    const state = await send('GET', '/pages/session', { headers: { cookie } });
    expect(JSON.parse(state.text)).toEqual({ signed_in: true, account: 'anna', owner: false });
    expect((await send('GET', '/v1/admin/accounts', { headers: { cookie } })).status).toBe(403);
    expect((await send('GET', '/pages/snippets', { headers: { cookie } })).text).not.toContain('api_key"');
  });
});

describe('a session', () => {
  const READ = ['/v1/keys', '/v1/models', '/v1/me/live', '/v1/me/usage', '/pages/snippets', '/v1/payments/balance'];

  test.each(READ)('reads %s as the login token does, and nothing of it is kept', async (path) => {
    const [own, byToken] = await Promise.all([
      send('GET', path, { headers: { cookie: await session() } }),
      send('GET', path, { headers: { authorization: `Bearer ${house.ownerToken}` } }),
    ]);
    expect(own.status).toBe(200);
    expect(own.text).toBe(byToken.text);
    expect(own.headers['cache-control']).toBe('no-store');
  });

  test.each<[string, Record<string, string>, number]>([
    ['our own page', { 'sec-fetch-site': 'same-origin' }, 200],
    ['another site', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, 401],
    ['another port of this machine', { origin: 'http://127.0.0.1:9', 'sec-fetch-site': 'same-site' }, 401],
    ['nobody knows where', {}, 401],
  ])('changes something for %s', async (_, headers, status) => {
    const answer = await send('POST', '/v1/keys', { headers: { ...headers, cookie: await session() } });
    expect(answer.status).toBe(status);
    expect(house.coordinator.accounts.keys.list(house.coordinator.owner.id)).toHaveLength(status === 200 ? 1 : 0);
  });

  test('counts for nothing under a foreign name, and beside a credential', async () => {
    const cookie = await session();
    const port = house.coordinator.port;
    expect((await send('GET', '/v1/keys', { headers: { cookie, host: `evil.example:${port}` } })).status).toBe(401);
    expect((await send('GET', '/v1/keys', { headers: { cookie, authorization: 'Bearer wrong' } })).status).toBe(401);
    const key = house.coordinator.accounts.keys.create(house.coordinator.owner.id, undefined).secret;
    expect((await send('GET', '/v1/keys', { headers: { cookie, 'x-api-key': key } })).status).toBe(403);
  });

  test('is over after its idle time, and when it is closed', async () => {
    const [one, other] = [await session(), await session()];
    const closed = await send('DELETE', '/pages/session', { headers: { ...ownPage(), cookie: one } });
    expect(closed.headers['set-cookie']?.[0]).toMatch(/Max-Age=0/u);
    expect((await send('GET', '/v1/keys', { headers: { cookie: one } })).status).toBe(401);
    expect((await send('GET', '/v1/keys', { headers: { cookie: other } })).status).toBe(200);
    house.clock.turn(2 * 60 * 60_000);
    expect((await send('GET', '/v1/keys', { headers: { cookie: other } })).status).toBe(401);
  });
});

describe('what an account sees of its own', () => {
  test('an API key may not read it', async () => {
    const key = house.coordinator.accounts.keys.create(house.coordinator.owner.id, undefined).secret;
    for (const path of ['/v1/me/machines', '/v1/me/usage', '/pages/snippets']) {
      expect((await house.call('GET', path, { token: key })).status).toBe(403);
    }
  });

  test('usage is summed by quarter of an hour and model, as far back as asked', async () => {
    const { owner, ledger } = house.coordinator;
    const settle = (requestId: string, alias: string, promptTokens: number) =>
      ledger.settle({
        requestId,
        accountId: owner.id,
        alias,
        build: alias,
        providerId: 'p',
        providerAccountId: owner.id,
        promptTokens,
        completionTokens: 1,
        price: { input: 1n, output: 1n },
        routeMode: 'self',
      });
    settle('old', 'a', 1);
    house.clock.turn(3 * 24 * 60 * 60_000);
    settle('one', 'a', 10);
    settle('two', 'a', 20);
    settle('three', 'b', 40);
    house.clock.turn(15 * 60_000);
    settle('four', 'a', 80);
    const { json } = await house.call('GET', '/v1/me/usage?days=2', { token: house.ownerToken });
    const none = { cost_micro_usd: 0 };
    expect(json).toEqual({
      bucket_minutes: 15,
      complete: true,
      rows: [
        { at: '2026-06-24T15:00:00.000Z', model: 'a', requests: 2, prompt_tokens: 30, completion_tokens: 2, ...none },
        { at: '2026-06-24T15:00:00.000Z', model: 'b', requests: 1, prompt_tokens: 40, completion_tokens: 1, ...none },
        { at: '2026-06-24T15:15:00.000Z', model: 'a', requests: 1, prompt_tokens: 80, completion_tokens: 1, ...none },
      ],
    });
    expect((await house.call('GET', '/v1/me/usage?days=0', { token: house.ownerToken })).status).toBe(400);
  });
});
