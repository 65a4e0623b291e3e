import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { auditBooks } from '../../src/coordinator/audit.js';
import { loopModel } from '../support/made-models.js';
import { RunningDaemon } from '../support/running-daemon.js';

const MODEL = 'darkbloom-tiny-chat';
const Job = z.object({ usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }) });

/** A machine whose owner lets others in, so that their paid requests come here. */
let open: RunningDaemon;
beforeAll(async () => {
  open = await RunningDaemon.start({ 'provider.serve_others': true, 'models.files': { loop: loopModel() } });
});
afterAll(() => open[Symbol.asyncDispose]());

const chat = (model: string, content: string, extra: object = {}) => ({
  model,
  messages: [{ role: 'user', content }],
  temperature: 0,
  ...extra,
});

const ownerBalance = () =>
  open.call('GET', '/v1/payments/balance', { token: open.ownerKey }).then(({ json }) => {
    return z.object({ balance_micro_usd: z.number() }).parse(json).balance_micro_usd;
  });

test("the owner's request costs nothing: no ledger row, one usage row at 0", async () => {
  const answer = await open.call('POST', '/v1/chat/completions', { token: open.ownerKey, body: chat(MODEL, 'Hello!') });
  expect(answer.status).toBe(200);
  const owner = open.daemon.record; // the books are read through a connection of their own
  expect(owner.mode).toBe('local');
  const jobId = answer.headers.get('x-inference-job-id') ?? '';
  const row = open.readLedger((ledger) => ledger.usageOf(jobId));
  expect(row).toMatchObject({ cost: 0n, routeMode: 'self', freeSelfRoute: true, alias: MODEL });
  expect(open.readLedger((ledger) => ledger.rows(row?.accountId ?? ''))).toEqual([]);
});

test("another person's short request costs the minimum of 100 µUSD, which the machine's owner earns", async () => {
  const guest = await open.addAccount({ usd: 1, acceptUnattested: true });
  const before = await ownerBalance();
  const answer = await open.call('POST', '/v1/chat/completions', {
    token: guest.key,
    body: chat(MODEL, 'Hello!', { max_tokens: 50 }),
  });
  expect(answer.status).toBe(200);
  expect(answer.headers.get('x-provider-encrypted')).toBe('true');
  const jobId = answer.headers.get('x-inference-job-id') ?? '';
  expect(open.readLedger((ledger) => ledger.usageOf(jobId))).toMatchObject({
    cost: 100n,
    routeMode: 'none',
    freeSelfRoute: false,
  });
  expect(open.readLedger((ledger) => ledger.balance(guest.id)).balance).toBe(999_900n);
  expect(await ownerBalance()).toBe(before + 100);
  expect(auditBooks(open.home.database).discrepancies).toEqual([]);
});

test('a request of many tokens costs the sum of the two floored terms', async () => {
  const guest = await open.addAccount({ usd: 1, acceptUnattested: true });
  const answer = await open.call('POST', '/v1/chat/completions', {
    token: guest.key,
    body: chat('loop', 'word '.repeat(300), { max_tokens: 900 }),
  });
  const { prompt_tokens, completion_tokens } = Job.parse(answer.json).usage;
  expect(completion_tokens).toBe(900);
  const cost = BigInt(Math.floor(prompt_tokens * 0.05)) + BigInt(Math.floor(completion_tokens * 0.2));
  expect(cost).toBeGreaterThan(100n);
  expect(open.readLedger((ledger) => ledger.balance(guest.id)).balance).toBe(1_000_000n - cost);
});

test('streamed paid requests are settled before the stream ends', async () => {
  const guest = await open.addAccount({ usd: 1, acceptUnattested: true });
  await open.call('POST', '/v1/messages', {
    token: guest.key,
    body: chat(MODEL, 'Hello!', { max_tokens: 50, stream: true }),
  });
  const usage = await open.call('GET', '/v1/payments/usage', { token: guest.key });
  expect(usage.json).toMatchObject({ usage: [{ model: MODEL, cost_micro_usd: 100, route: 'none' }] });
});

test('without money there is a 402 and no row; the SDKs are told not to retry', async () => {
  const guest = await open.addAccount({ usd: 0, acceptUnattested: true });
  const answer = await open.call('POST', '/v1/chat/completions', { token: guest.key, body: chat(MODEL, 'Hello!') });
  expect(answer.status).toBe(402);
  expect(answer.json).toMatchObject({ error: { type: 'insufficient_funds', code: 'insufficient_quota' } });
  expect(answer.headers.get('x-should-retry')).toBe('false');
  expect(open.readLedger((ledger) => ledger.rows(guest.id))).toEqual([]);
});

test('an account that does not accept machines of strangers is served by none, and gets its money back', async () => {
  const guest = await open.addAccount({ usd: 1, acceptUnattested: false });
  const answer = await open.call('POST', '/v1/chat/completions', { token: guest.key, body: chat(MODEL, 'Hello!') });
  expect(answer.status).toBe(503);
  expect(answer.json).toMatchObject({ error: { code: 'model_unavailable' } });
  expect(open.readLedger((ledger) => ledger.balance(guest.id)).balance).toBe(1_000_000n);
});

test("a machine that serves its owner alone gets no stranger's request", async () => {
  await using closed = await RunningDaemon.start();
  const guest = await closed.addAccount({ usd: 1, acceptUnattested: true });
  const answer = await closed.call('POST', '/v1/chat/completions', { token: guest.key, body: chat(MODEL, 'Hello!') });
  expect(answer.status).toBe(503);
  expect(closed.readLedger((ledger) => ledger.balance(guest.id)).balance).toBe(1_000_000n);
});

test('self-route of an account without a machine is a 409 that says how to link one', async () => {
  const guest = await open.addAccount({ usd: 1, acceptUnattested: true });
  const answer = await open.call('POST', '/v1/chat/completions', {
    token: guest.key,
    headers: { 'x-darkbloom-route': ' SELF ' },
    body: chat(MODEL, 'Hello!'),
  });
  expect(answer.status).toBe(409);
  expect(answer.json).toMatchObject({ error: { type: 'no_linked_machine' } });
  expect(answer.headers.get('x-should-retry')).toBe('false');
});

test("the owner's request without self-route is charged and earned like any other", async () => {
  const token = open.ownerToken;
  await open.call('POST', '/v1/admin/credit', { token, body: { account: 'owner', amount_usd: 1 } });
  const before = await ownerBalance();
  const answer = await open.call('POST', '/v1/chat/completions', {
    token: open.ownerKey,
    headers: { 'x-darkbloom-route': 'none' },
    body: chat(MODEL, 'Hello!', { max_tokens: 50 }),
  });
  const jobId = answer.headers.get('x-inference-job-id') ?? '';
  expect(open.readLedger((ledger) => ledger.usageOf(jobId))).toMatchObject({ cost: 100n, freeSelfRoute: false });
  expect(await ownerBalance()).toBe(before);
});

test("prefer on the owner's machine gives the whole hold back", async () => {
  const before = await ownerBalance();
  const answer = await open.call('POST', '/v1/chat/completions', {
    token: open.ownerKey,
    headers: { 'x-darkbloom-route': 'prefer' },
    body: chat(MODEL, 'Hello!', { max_tokens: 50 }),
  });
  const jobId = answer.headers.get('x-inference-job-id') ?? '';
  expect(open.readLedger((ledger) => ledger.usageOf(jobId))).toMatchObject({ cost: 0n, routeMode: 'prefer' });
  expect(await ownerBalance()).toBe(before);
});

test('prices are public: the fallback is 50000 and 200000', async () => {
  const { json } = await open.call('GET', '/v1/pricing');
  expect(json).toMatchObject({
    fallback_input_price: 50_000,
    fallback_output_price: 200_000,
    fallback_input_usd: '$0.0500',
    fallback_output_usd: '$0.2000',
  });
});

test('keys are made with a login, shown once, listed without their secret, and dead when deleted', async () => {
  const token = open.ownerToken;
  const made = await open.call('POST', '/v1/keys', { token, body: { name: 'laptop' } });
  const { key, data } = z.object({ key: z.string(), data: z.object({ id: z.string() }) }).parse(made.json);
  expect(key).toMatch(/^sk-db-[0-9a-f]{64}$/u);
  const list = await open.call('GET', '/v1/keys', { token });
  expect(list.text).toContain(data.id);
  expect(list.text).not.toContain(key);
  expect((await open.call('GET', '/v1/models', { token: key })).status).toBe(200);
  expect((await open.call('DELETE', `/v1/keys/${data.id}`, { token })).json).toEqual({ status: 'revoked' });
  expect((await open.call('GET', '/v1/models', { token: key })).status).toBe(401);
});

test('an API key cannot manage keys, accounts or machines', async () => {
  for (const [method, path, body] of [
    ['GET', '/v1/keys', undefined],
    ['POST', '/v1/keys', {}],
    ['DELETE', '/v1/keys/key_0', undefined],
    ['POST', '/v1/admin/accounts', { name: 'x' }],
    ['POST', '/v1/admin/credit', { account: 'owner', amount_usd: 1 }],
    ['POST', '/v1/device/approve', { user_code: 'ABCD-EFGH' }],
  ] as const) {
    const answer = await open.call(method, path, { token: open.ownerKey, ...(body === undefined ? {} : { body }) });
    expect([path, answer.status]).toEqual([path, 403]);
    expect(answer.json).toMatchObject({ error: { type: 'forbidden' } });
  }
});

test("a guest's login manages its own keys and nothing of the owner's", async () => {
  const guest = await open.addAccount({ usd: 0, acceptUnattested: false });
  const admin = await open.call('POST', '/v1/admin/credit', {
    token: guest.loginToken,
    body: { account: 'owner', amount_usd: 1 },
  });
  expect(admin.status).toBe(403);
  const keys = await open.call('GET', '/v1/keys', { token: guest.loginToken });
  expect(z.object({ data: z.array(z.unknown()) }).parse(keys.json).data).toHaveLength(1);
});

test('a key that may use one model only is refused another by name', async () => {
  const made = await open.call('POST', '/v1/keys', { token: open.ownerToken, body: { allowed_models: ['loop'] } });
  const { key } = z.object({ key: z.string() }).parse(made.json);
  const answer = await open.call('POST', '/v1/chat/completions', { token: key, body: chat(MODEL, 'Hello!') });
  expect(answer.status).toBe(403);
  expect(answer.json).toMatchObject({ error: { type: 'model_not_allowed', param: 'model' } });
});
