import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { refusal } from './refusal.js';
import { StartedCoordinator } from './started-coordinator.js';

let house: StartedCoordinator;
beforeEach(async () => {
  house = await StartedCoordinator.start();
});
afterEach(() => house[Symbol.asyncDispose]());

const asOwner = (method: string, path: string, body?: unknown) =>
  house.call(method, path, { token: house.ownerToken, body });

const Made = z.object({ key: z.string(), data: z.looseObject({ id: z.string(), label: z.string() }) });
const make = async (body?: object) => Made.parse((await asOwner('POST', '/v1/keys', body)).json);
const works = async (key: string) => (await house.call('GET', '/v1/models', { token: key })).status === 200;

/** Another person's login. */
function stranger() {
  const { accounts } = house.coordinator;
  return accounts.mintLoginToken(accounts.add('Ada', { acceptUnattested: false }).id);
}

/** A request that was settled with the key, for micro-USD on another person's machine. */
function spend(keyId: string, requestId: string) {
  const { ledger, owner } = house.coordinator;
  if (ledger.balance(owner.id).balance === 0n) ledger.credit(owner.id, 1_000_000n, 'test');
  ledger.hold({ requestId, accountId: owner.id, keyId, amount: 1_000n });
  ledger.settle({
    requestId,
    accountId: owner.id,
    keyId,
    alias: 'tiny',
    build: 'local/tiny',
    providerId: 'machine',
    providerAccountId: 'acct_other',
    promptTokens: 10_000,
    completionTokens: 2_000,
    price: { input: 50_000n, output: 200_000n },
    routeMode: 'none',
  });
}

const EVERYTHING = {
  name: 'laptop',
  limit_usd: 2.5,
  limit_reset: 'weekly',
  rpm_limit: 60,
  itpm_limit: 1_000,
  otpm_limit: 2_000,
  allowed_models: ['tiny'],
  self_route_only: true,
  expires_at: '2027-01-01T00:00:00.000Z',
};

describe('a key', () => {
  test('is made without a body, or as the body says, and its secret is shown once', async () => {
    const plain = await make();
    expect(plain.data).toMatchObject({ name: '', limit_reset: 'none', self_route_only: false });
    for (const absent of ['limit_usd', 'remaining_usd', 'rpm_limit', 'allowed_models', 'expires_at']) {
      expect(plain.data).not.toHaveProperty(absent);
    }
    const { key, data } = await make(EVERYTHING);
    expect(key).toMatch(/^sk-db-[0-9a-f]{64}$/u);
    const one = await asOwner('GET', `/v1/keys/${data.id}`);
    expect(one).toEqual({ status: 200, json: data });
    expect(data).toMatchObject({ ...EVERYTHING, usage_usd: 0, remaining_usd: 2.5, disabled: false });
    const all = await asOwner('GET', '/v1/keys');
    expect(all.json).toMatchObject({ object: 'list', data: [{ name: '' }, { name: 'laptop' }] });
    expect(JSON.stringify([one, all])).not.toContain(key);
  });

  test('is changed where the body says so, and keeps the rest', async () => {
    const { key, data } = await make(EVERYTHING);
    const change = (body: object) => asOwner('PATCH', `/v1/keys/${data.id}`, body);
    expect(await change({})).toEqual({ status: 200, json: data });
    expect((await change({ name: ' desk ', limit_usd: 5 })).json).toEqual({
      ...data,
      name: 'desk',
      limit_usd: 5,
      remaining_usd: 5,
    });
    expect((await change({ disabled: true })).json).toMatchObject({ disabled: true });
    expect(await works(key)).toBe(false);
    expect((await change({ disabled: false, self_route_only: false })).json).toMatchObject({ self_route_only: false });
    expect(await works(key)).toBe(true);
  });

  test('loses its limits, expiry and list of models by null', async () => {
    const { data } = await make(EVERYTHING);
    const none = { limit_usd: null, rpm_limit: null, itpm_limit: 0, otpm_limit: null };
    const cleared = { ...none, limit_reset: null, allowed_models: null, expires_at: null, name: null };
    const { json } = await asOwner('PATCH', `/v1/keys/${data.id}`, cleared);
    expect(json).toEqual({
      id: data.id,
      name: '',
      label: data.label,
      disabled: false,
      limit_reset: 'none',
      usage_usd: 0,
      self_route_only: true,
      created_at: data['created_at'],
    });
    expect((await asOwner('GET', `/v1/keys/${data.id}`)).json).toEqual(json);
  });

  test.each<[unknown, string | undefined]>([
    [{ limit_usd: -1 }, 'limit_usd'],
    [{ limit_usd: '5' }, 'limit_usd'],
    [{ limit_usd: 1_000_001 }, 'limit_usd'],
    [{ limit_reset: 'hourly' }, 'limit_reset'],
    [{ rpm_limit: -1 }, 'rpm_limit'],
    [{ itpm_limit: 1.5 }, 'itpm_limit'],
    [{ otpm_limit: '1' }, 'otpm_limit'],
    [{ name: 7 }, 'name'],
    [{ name: 'x'.repeat(101) }, 'name'],
    [{ allowed_models: 'tiny' }, 'allowed_models'],
    [{ allowed_models: ['tiny', ''] }, 'allowed_models'],
    [{ allowed_models: Array.from({ length: 257 }, () => 'tiny') }, 'allowed_models'],
    [{ self_route_only: 'yes' }, 'self_route_only'],
    [{ expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
    [{ expires_at: 'tomorrow' }, 'expires_at'],
    [{ spend: 1 }, 'spend'],
    ['no json', undefined],
    ['[]', undefined],
  ])('is neither made nor changed with %j, and the field is named', async (body, param) => {
    const { data } = await make();
    expect(await asOwner('PATCH', `/v1/keys/${data.id}`, body)).toEqual(refusal(400, 'bad_request', param));
    expect(await asOwner('POST', '/v1/keys', body)).toEqual(refusal(400, 'bad_request', param));
    expect((await asOwner('GET', '/v1/keys')).json).toEqual({ object: 'list', data: [data] });
  });

  test('is switched off by a change only, not when it is made', async () => {
    expect(await asOwner('POST', '/v1/keys', { disabled: true })).toEqual(refusal(400, 'bad_request', 'disabled'));
  });

  test('is rotated: a new secret with the same settings, and the old one dead at once', async () => {
    const { key, data } = await make(EVERYTHING);
    const rotated = Made.parse((await asOwner('POST', `/v1/keys/${data.id}/rotate`)).json);
    expect(rotated.key).toMatch(/^sk-db-[0-9a-f]{64}$/u);
    expect(rotated.data).toEqual({ ...data, label: rotated.data.label });
    expect(rotated.data.label).toBe(`${rotated.key.slice(0, 10)}...${rotated.key.slice(-4)}`);
    expect([await works(key), await works(rotated.key)]).toEqual([false, true]);
  });

  test('shows what was spent in its window, and what is left', async () => {
    const { data } = await make({ limit_usd: 0.002, limit_reset: 'daily' });
    const shown = async () => (await asOwner('GET', `/v1/keys/${data.id}`)).json;
    spend(data.id, 'request-1');
    expect(await shown()).toMatchObject({ limit_usd: 0.002, usage_usd: 0.0009, remaining_usd: 0.0011 });
    spend(data.id, 'request-2');
    expect(await shown()).toMatchObject({ usage_usd: 0.0018, remaining_usd: 0.0002 });
    house.clock.turn(9 * 3_600_000); // past midnight, UTC
    expect(await shown()).toMatchObject({ usage_usd: 0, remaining_usd: 0.002 });
    await asOwner('PATCH', `/v1/keys/${data.id}`, { limit_reset: 'none' });
    expect(await shown()).toMatchObject({ usage_usd: 0.0018, remaining_usd: 0.0002 });
  });

  test('expires with the clock', async () => {
    const { key } = await make({ expires_at: new Date(house.clock.now() + 60_000).toISOString() });
    expect(await works(key)).toBe(true);
    house.clock.turn(60_000);
    expect(await works(key)).toBe(false);
  });

  test('is looked at by itself, and by no login', async () => {
    const { key, data } = await make({ name: 'laptop' });
    const { status, json } = await house.call('GET', '/v1/key', { token: key });
    expect({ status, json }).toMatchObject({
      status: 200,
      json: { ...data, last_used_at: expect.any(String) as string },
    });
    expect(await asOwner('GET', '/v1/key')).toEqual(refusal(404, 'not_found'));
  });

  test('is made and revoked by the older pair of calls', async () => {
    const { json } = await asOwner('POST', '/v1/auth/keys');
    const { api_key: key } = z.object({ api_key: z.string(), account_id: z.string() }).parse(json);
    expect(await works(key)).toBe(true);
    const revoke = (token: string) => house.call('DELETE', '/v1/auth/keys', { token, body: { key } });
    expect(await revoke(stranger())).toEqual(refusal(404, 'not_found'));
    expect((await revoke(house.ownerToken)).json).toEqual({ status: 'revoked' });
    expect(await works(key)).toBe(false);
    expect(await asOwner('DELETE', '/v1/auth/keys', {})).toEqual(refusal(400, 'bad_request', 'key'));
  });

  test('of another account is not found', async () => {
    const { key, data } = await make();
    const token = stranger();
    for (const [method, path] of [
      ['GET', ''],
      ['DELETE', ''],
      ['PATCH', ''],
      ['POST', '/rotate'],
    ] as const) {
      const body = method === 'PATCH' ? {} : undefined;
      const answer = await house.call(method, `/v1/keys/${data.id}${path}`, { token, body });
      expect(answer).toEqual(refusal(404, 'not_found'));
    }
    expect(await works(key)).toBe(true);
    expect((await asOwner('DELETE', `/v1/keys/${data.id}`)).json).toEqual({ status: 'revoked' });
    expect(await works(key)).toBe(false);
  });

  test.each([
    ['GET', '/v1/keys'],
    ['POST', '/v1/keys'],
    ['GET', '/v1/keys/key_1'],
    ['PATCH', '/v1/keys/key_1'],
    ['DELETE', '/v1/keys/key_1'],
    ['POST', '/v1/keys/key_1/rotate'],
    ['POST', '/v1/auth/keys'],
    ['DELETE', '/v1/auth/keys'],
    ['POST', '/v1/device/approve'],
    ['POST', '/v1/device/deny'],
    ['GET', '/v1/me/machines'],
    ['DELETE', '/v1/me/machines/mach_1'],
    ['POST', '/v1/me/machines/mach_1/load'],
    ['POST', '/v1/me/machines/mach_1/prefetch'],
    ['PUT', '/v1/pricing'],
    ['DELETE', '/v1/pricing'],
  ])('cannot do %s %s, and hears that before its body is looked at', async (method, path) => {
    const { key } = await make();
    const body = method === 'GET' ? undefined : 'no json';
    const machine = house.coordinator.accounts.mintProviderToken(house.coordinator.owner.id, 'machine');
    expect(await house.call(method, path, { body })).toEqual(refusal(401, 'authentication_error'));
    for (const token of [key, machine]) {
      expect(await house.call(method, path, { body, token })).toEqual(refusal(403, 'forbidden'));
    }
  });
});
