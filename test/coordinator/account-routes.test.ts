import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { FALLBACK_PRICE } from '../../src/coordinator/billing.js';
import { StartedCoordinator } from './started-coordinator.js';

let house: StartedCoordinator;
beforeEach(async () => {
  house = await StartedCoordinator.start();
});
afterEach(() => house[Symbol.asyncDispose]());

const asOwner = (method: string, path: string, body?: unknown) =>
  house.call(method, path, { token: house.ownerToken, body });

/** Another person's account and login. */
async function addAccount(name: string) {
  const { json } = await asOwner('POST', '/v1/admin/accounts', { name });
  const Made = z.object({ account: z.object({ id: z.string() }), login_token: z.string() });
  const { account, login_token: token } = Made.parse(json);
  return { id: account.id, token };
}

const refusal = (status: number, type: string, param?: string) => ({
  status,
  json: {
    error: {
      type,
      code: type,
      message: expect.any(String) as string,
      ...(param === undefined ? {} : { param }),
    },
  },
});

describe('a machine that logs in', () => {
  const Code = z.strictObject({
    device_code: z.string().regex(/^[0-9a-f]{64}$/u),
    user_code: z.string().regex(/^[A-HJKMNP-Z2-9]{4}-[A-HJKMNP-Z2-9]{4}$/u),
    verification_uri: z.string(),
    expires_in: z.literal(900),
    interval: z.literal(5),
  });
  const begin = async () => Code.parse((await house.call('POST', '/v1/device/code')).json);
  const poll = (device_code: string) => house.call('POST', '/v1/device/token', { body: { device_code } });
  const approve = (user_code: string, token = house.ownerToken) =>
    house.call('POST', '/v1/device/approve', { token, body: { user_code } });

  test('waits, is approved, and gets its token once', async () => {
    const { device_code: code, user_code: shown, verification_uri: page } = await begin();
    expect(page).toBe(`${house.coordinator.url}/link`);
    expect(await poll(code)).toEqual({ status: 200, json: { status: 'authorization_pending' } });
    expect(await approve(` ${shown.toLowerCase()} `)).toMatchObject({ status: 200, json: { status: 'approved' } });
    const answer = await poll(code);
    const { token } = z
      .strictObject({
        status: z.literal('authorized'),
        token: z.string().regex(/^eigeninference-pt-[0-9a-f]{64}$/u),
        account_id: z.literal(house.coordinator.owner.id),
      })
      .parse(answer.json);
    expect(house.coordinator.accounts.accountOfProviderToken(token)).toEqual(house.coordinator.owner);
    expect(await poll(code)).toEqual(refusal(410, 'expired_token'));
    expect(await approve(shown)).toEqual(refusal(409, 'already_used'));
  });

  test('has 15 minutes', async () => {
    const { device_code: code, user_code: shown } = await begin();
    house.clock.turn(899_999);
    expect((await poll(code)).json).toEqual({ status: 'authorization_pending' });
    house.clock.turn(1);
    expect(await poll(code)).toEqual(refusal(410, 'expired_token'));
    expect(await approve(shown)).toEqual(refusal(410, 'expired_code'));
  });

  test.each([
    ['https://example.com', 403],
    ['null', 403],
    ['', 403],
    [undefined, 200],
    ['the coordinator itself', 200],
  ])('begins with the command line, not with a page of %s', async (origin, status) => {
    const { url } = house.coordinator;
    const from = origin === 'the coordinator itself' ? url : origin;
    const headers = from === undefined ? {} : { origin: from };
    expect((await fetch(`${url}/v1/device/code`, { method: 'POST', headers })).status).toBe(status);
  });

  test('is refused by a person who logged in, and hears it', async () => {
    const { device_code: code, user_code: shown } = await begin();
    const deny = (token?: string) => house.call('POST', '/v1/device/deny', { token, body: { user_code: shown } });
    const key = house.coordinator.accounts.keys.create(house.coordinator.owner.id, {}).secret;
    expect(await deny()).toEqual(refusal(401, 'authentication_error'));
    expect(await deny(key)).toEqual(refusal(403, 'forbidden'));
    expect(await deny(house.ownerToken)).toMatchObject({ status: 200, json: { status: 'denied' } });
    expect(await poll(code)).toEqual(refusal(403, 'access_denied'));
  });

  test('that asks too often is told how long to wait', async () => {
    const { device_code: code } = await begin();
    await poll(code);
    const response = await fetch(`${house.coordinator.url}/v1/device/token`, {
      method: 'POST',
      body: JSON.stringify({ device_code: code }),
    });
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '5']);
    expect(await response.json()).toMatchObject({ error: { type: 'rate_limit_exceeded', code: 'slow_down' } });
    house.clock.turn(5_000);
    expect((await poll(code)).json).toEqual({ status: 'authorization_pending' });
  });

  test('is told when its code is unknown', async () => {
    expect(await poll('0'.repeat(64))).toEqual(refusal(404, 'invalid_grant'));
    expect(await approve('AAAA-AAAA')).toEqual(refusal(404, 'invalid_code'));
  });

  test.each([
    ['/v1/device/token', 'device_code'],
    ['/v1/device/approve', 'user_code'],
    ['/v1/device/deny', 'user_code'],
  ])('must send text to %s', async (path, param) => {
    for (const body of [{}, { [param]: '' }, { [param]: 7 }, { [param]: null }]) {
      expect(await asOwner('POST', path, body)).toEqual(refusal(400, 'invalid_request', param));
    }
    for (const body of ['no json', '[]']) {
      expect(await asOwner('POST', path, body)).toEqual(refusal(400, 'invalid_request'));
    }
    expect(await asOwner('POST', path, { [param]: 'x'.repeat(65_536) })).toMatchObject({ status: 413 });
  });

  test('is approved into the account of whoever approves, who must have logged in', async () => {
    const guest = await addAccount('Ada');
    const { device_code: code, user_code: shown } = await begin();
    expect((await house.call('POST', '/v1/device/approve', { body: { user_code: shown } })).status).toBe(401);
    const key = house.coordinator.accounts.keys.create(house.coordinator.owner.id, {}).secret;
    expect(await approve(shown, key)).toEqual(refusal(403, 'forbidden'));
    expect((await poll(code)).json).toEqual({ status: 'authorization_pending' });
    await approve(shown, guest.token);
    expect((await poll(code)).json).toMatchObject({ status: 'authorized', account_id: guest.id });
  });

  test('may act for its account, but not manage it', async () => {
    const token = house.coordinator.accounts.mintProviderToken(house.coordinator.owner.id, 'machine');
    expect((await house.call('GET', '/v1/payments/balance', { token })).status).toBe(200);
    expect(await house.call('GET', '/v1/keys', { token })).toEqual(refusal(403, 'forbidden'));
  });
});

describe('administration', () => {
  test('begins with the owner alone', async () => {
    const { id } = house.coordinator.owner;
    expect(await asOwner('GET', '/v1/admin/accounts')).toEqual({
      status: 200,
      json: { accounts: [{ id, name: 'owner', owner: true, accept_unattested: false, balance_usd: '0.000000' }] },
    });
  });

  test('adds an account with a login, which is strict unless it was said otherwise', async () => {
    const made = await asOwner('POST', '/v1/admin/accounts', { name: ' Ada ' });
    expect(made).toMatchObject({
      status: 200,
      json: {
        account: { name: 'Ada', owner: false, accept_unattested: false },
        login_token: expect.stringMatching(/^db-login-[0-9a-f]{64}$/u) as string,
      },
    });
    const open = await asOwner('POST', '/v1/admin/accounts', { name: 'Bob', accept_unattested: true });
    expect(open.json).toMatchObject({ account: { accept_unattested: true } });
  });

  test('changes whether machines that prove nothing may serve an account', async () => {
    const { id } = await addAccount('Ada');
    const changed = await asOwner('PATCH', '/v1/admin/accounts/Ada', { accept_unattested: true });
    expect(changed).toMatchObject({ status: 200, json: { account: { id, accept_unattested: true } } });
    expect(house.coordinator.accounts.find(id)?.acceptUnattested).toBe(true);
  });

  test('gives an account a new login; the old one is dead at once', async () => {
    const { token: old } = await addAccount('Ada');
    const { json } = await asOwner('POST', '/v1/admin/accounts/Ada/login');
    const { login_token: token } = z.object({ login_token: z.string() }).parse(json);
    expect((await house.call('GET', '/v1/keys', { token: old })).status).toBe(401);
    expect((await house.call('GET', '/v1/keys', { token })).status).toBe(200);
    expect(await asOwner('POST', '/v1/admin/accounts/owner/login')).toEqual(refusal(400, 'bad_request'));
    expect((await asOwner('GET', '/v1/keys')).status).toBe(200);
  });

  test('gives an account money to spend, not to withdraw', async () => {
    const { id, token } = await addAccount('Ada');
    expect(await asOwner('POST', '/v1/admin/credit', { account: 'Ada', amount_usd: 2.5 })).toEqual({
      status: 200,
      json: { account: 'Ada', balance_micro_usd: 2_500_000, balance_usd: '2.500000' },
    });
    await asOwner('POST', '/v1/admin/credit', { account: id, amount_usd: 0.000001 });
    expect((await house.call('GET', '/v1/payments/balance', { token })).json).toEqual({
      balance_micro_usd: 2_500_001,
      balance_usd: '2.500001',
      withdrawable_micro_usd: 0,
      withdrawable_usd: '0.000000',
    });
  });

  test.each<[string, string, unknown, string | undefined]>([
    ['POST', 'accounts', {}, 'name'],
    ['POST', 'accounts', { name: 7 }, 'name'],
    ['POST', 'accounts', { name: ' ' }, 'name'],
    ['POST', 'accounts', { name: 'x'.repeat(101) }, 'name'],
    ['POST', 'accounts', { name: 'owner' }, 'name'],
    ['POST', 'accounts', { name: 'Ada', accept_unattested: 'yes' }, 'accept_unattested'],
    ['POST', 'accounts', { name: 'Ada', owner: true }, 'owner'],
    ['PATCH', 'accounts/owner', {}, 'accept_unattested'],
    ['PATCH', 'accounts/owner', { accept_unattested: 1 }, 'accept_unattested'],
    ['PATCH', 'accounts/owner', { accept_unattested: true, name: 'Ada' }, 'name'],
    ['POST', 'credit', { amount_usd: 1 }, 'account'],
    ['POST', 'credit', { account: 'owner' }, 'amount_usd'],
    ['POST', 'credit', { account: 'owner', amount_usd: '1' }, 'amount_usd'],
    ['POST', 'credit', { account: 'owner', amount_usd: 0 }, 'amount_usd'],
    ['POST', 'credit', { account: 'owner', amount_usd: -1 }, 'amount_usd'],
    ['POST', 'credit', { account: 'owner', amount_usd: 0.0000001 }, 'amount_usd'],
    ['POST', 'credit', { account: 'owner', amount_usd: 1_000_001 }, 'amount_usd'],
    ['POST', 'credit', { account: 'owner', amount_usd: 1, currency: 'EUR' }, 'currency'],
  ])('%s %s with %j is refused, naming the field %s', async (method, path, body, param) => {
    expect(await asOwner(method, `/v1/admin/${path}`, body)).toEqual(refusal(400, 'bad_request', param));
    expect(house.coordinator.accounts.list()).toEqual([house.coordinator.owner]);
    expect(house.coordinator.ledger.rows(house.coordinator.owner.id)).toEqual([]);
  });

  test.each([
    ['PATCH', '/v1/admin/accounts/Ada', { accept_unattested: true }],
    ['POST', '/v1/admin/accounts/Ada/login', undefined],
    ['POST', '/v1/admin/credit', { account: 'Ada', amount_usd: 1 }],
  ])('%s %s of nobody is not found', async (method, path, body) => {
    expect(await asOwner(method, path, body)).toEqual(refusal(404, 'not_found', 'account'));
  });

  test.each([
    ['GET', '/v1/admin/accounts'],
    ['POST', '/v1/admin/accounts'],
    ['PATCH', '/v1/admin/accounts/owner'],
    ['POST', '/v1/admin/accounts/owner/login'],
    ['POST', '/v1/admin/credit'],
  ])("%s %s needs the owner's login, and says so before it looks at the body", async (method, path) => {
    const guest = await addAccount('Ada');
    const body = method === 'GET' ? undefined : 'no json';
    expect(await house.call(method, path, { body })).toEqual(refusal(401, 'authentication_error'));
    expect(await house.call(method, path, { body, token: 'wrong' })).toEqual(refusal(401, 'authentication_error'));
    expect(await house.call(method, path, { body, token: guest.token })).toEqual(refusal(403, 'forbidden'));
    const key = house.coordinator.accounts.keys.create(house.coordinator.owner.id, {}).secret;
    expect(await house.call(method, path, { body, token: key })).toEqual(refusal(403, 'forbidden'));
  });
});

describe('usage', () => {
  /** As many requests of the owner, a minute apart, each on the owner's own machine. */
  function used(requests: number) {
    const { ledger, owner } = house.coordinator;
    for (let request = 1; request <= requests; request++) {
      house.clock.turn(60_000);
      ledger.settle({
        requestId: `request-${request}`,
        accountId: owner.id,
        alias: 'tiny',
        build: 'local/tiny',
        providerId: 'machine',
        providerAccountId: owner.id,
        promptTokens: 11,
        completionTokens: request,
        price: FALLBACK_PRICE,
        routeMode: 'self',
      });
    }
  }
  const Usage = z.object({ usage: z.array(z.object({ job_id: z.string() })) });
  const listed = async (query = '') => {
    const { json } = await asOwner('GET', `/v1/payments/usage${query}`);
    return Usage.parse(json).usage.map(({ job_id }) => job_id);
  };

  test('is listed newest first, each with all that was counted', async () => {
    used(2);
    expect(await listed()).toEqual(['request-2', 'request-1']);
    expect((await asOwner('GET', '/v1/payments/usage?limit=1')).json).toEqual({
      usage: [
        {
          job_id: 'request-2',
          model: 'tiny',
          prompt_tokens: 11,
          completion_tokens: 2,
          cost_micro_usd: 0,
          timestamp: new Date(house.clock.now()).toISOString(),
          route: 'self',
          free_self_route: true,
          provider_id: 'machine',
        },
      ],
    });
  });

  test('is cut at 50 rows unless another number is asked for', async () => {
    used(52);
    expect(await listed()).toHaveLength(50);
    expect(await listed('?limit=51')).toHaveLength(51);
    expect(await listed('?limit=1000')).toHaveLength(52);
  });

  test.each(['0', '-1', '1001', '1.5', 'many', ''])('a limit of "%s" is refused by name', async (limit) => {
    expect(await asOwner('GET', `/v1/payments/usage?limit=${limit}`)).toEqual(
      refusal(400, 'invalid_request_error', 'limit'),
    );
  });

  test("is nobody else's", async () => {
    used(1);
    const guest = await addAccount('Ada');
    expect((await house.call('GET', '/v1/payments/usage', { token: guest.token })).json).toEqual({ usage: [] });
  });
});
