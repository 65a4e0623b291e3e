import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Completion } from '../../src/coordinator/ledger.js';
import { StartedCoordinator } from './started-coordinator.js';

let house: StartedCoordinator;
let anna: { id: string; token: string };
let host: { id: string; token: string };

/** Five paid requests of Anna, an hour apart, and one free one of the host. */
beforeAll(async () => {
  house = await StartedCoordinator.start();
  const { accounts, ledger } = house.coordinator;
  const add = (name: string) => {
    const { id } = accounts.add(name, { acceptUnattested: true });
    return { id, token: accounts.mintLoginToken(id) };
  };
  [anna, host] = [add('anna'), add('host')];
  ledger.credit(anna.id, 10_000n, 'test');
  const settle = (requestId: string, changes: Partial<Completion>) =>
    ledger.settle({
      requestId,
      accountId: anna.id,
      alias: 'tiny',
      build: 'local/tiny',
      providerId: 'machine',
      providerAccountId: host.id,
      promptTokens: 10,
      completionTokens: 1_000,
      price: { input: 1n, output: 1_000_000n },
      routeMode: 'none',
      ...changes,
    });
  for (const [index, alias] of ['tiny', '=1+1', 'tiny', 'a,"b"', 'tiny'].entries()) {
    const requestId = `request-${index}`;
    const keyId = index === 4 ? 'key_4' : undefined;
    ledger.hold({ requestId, accountId: anna.id, keyId, amount: 1_000n });
    settle(requestId, { alias, keyId, completionTokens: 1_000 - index });
    house.clock.sleep(3_600_000);
  }
  settle('own', { accountId: host.id, routeMode: 'self' });
});
afterAll(() => house[Symbol.asyncDispose]());

const START = Date.parse('2026-06-21T15:04:05Z');
const hour = (hours: number) => encodeURIComponent(new Date(START + hours * 3_600_000).toISOString());
const get = (path: string, token: string) =>
  fetch(`${house.coordinator.url}${path}`, { headers: { authorization: `Bearer ${token}` } });

const List = z.object({
  usage: z.array(z.object({ job_id: z.string() })).optional(),
  earnings: z.array(z.object({ job_id: z.string() })).optional(),
});
async function listed(path: string, token: string): Promise<string[]> {
  const { usage, earnings } = List.parse(await (await get(path, token)).json());
  return (usage ?? earnings ?? []).map(({ job_id: id }) => id.replace('request-', ''));
}

describe.each([
  ['/v1/payments/usage', () => anna.token],
  ['/v1/provider/account-earnings', () => host.token],
])('%s', (path, token) => {
  test('is newest first, and its pages follow one another to the end', async () => {
    expect(await listed(path, token())).toEqual(['4', '3', '2', '1', '0']);
    const seen: string[] = [];
    for (let next: string | undefined = `${path}?limit=2`; next !== undefined;) {
      seen.push((await listed(next, token())).join(' '));
      next = /^<([^>]+)>; rel="next"$/u.exec((await get(next, token())).headers.get('link') ?? '')?.[1];
    }
    expect(seen).toEqual(['4 3', '2 1', '0']);
  });

  test.each([
    [`from=${hour(2)}`, ['4', '3', '2']],
    [`to=${hour(2)}`, ['1', '0']],
    [`from=${hour(1)}&to=${hour(3)}&limit=1`, ['2']],
    ['from=2026-06-21&to=2026-06-22', ['4', '3', '2', '1', '0']],
    ['to=2026-06-21', []],
  ])('with %s lists %j', async (query, expected) => {
    expect(await listed(`${path}?${query}`, token())).toEqual(expected);
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=', 'limit'],
    ['limit=1001', 'limit'],
    ['from=yesterday', 'from'],
    ['to=', 'to'],
    ['after=own', 'after'],
    ['after=', 'after'],
    ['format=xml', 'format'],
    ['modell=tiny', 'modell'],
  ])('refuses %s by name', async (query, param) => {
    const refused = await get(`${path}?${query}`, token());
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: { type: 'invalid_request_error', param } },
    ]);
  });

  test('needs a credential', async () => {
    expect((await fetch(`${house.coordinator.url}${path}`)).status).toBe(401);
  });
});

test.each([
  ['model=tiny', ['4', '2', '0']],
  ['model=%3D1%2B1', ['1']],
  ['key_id=key_4', ['4']],
  ['route=self', []],
])('usage with %s lists %j', async (query, expected) => {
  expect(await listed(`/v1/payments/usage?${query}`, anna.token)).toEqual(expected);
});

test('earnings come with their sum, the balance, and nothing of who asked', async () => {
  const { status, json } = await house.call('GET', '/v1/provider/account-earnings?limit=1', { token: host.token });
  expect({ status, json }).toEqual({
    status: 200,
    json: {
      account_id: host.id,
      earnings: [
        {
          job_id: 'request-4',
          model: 'local/tiny',
          provider_id: 'machine',
          prompt_tokens: 10,
          completion_tokens: 996,
          amount_micro_usd: 996,
          timestamp: new Date(START + 4 * 3_600_000).toISOString(),
        },
      ],
      total_micro_usd: 4_990,
      total_usd: '0.004990',
      count: 5,
      recent_count: 1,
      history_limit: 1,
      available_balance_micro_usd: 4_990,
      available_balance_usd: '0.004990',
      withdrawable_balance_micro_usd: 4_990,
      withdrawable_balance_usd: '0.004990',
    },
  });
});

test('as CSV each row is a line, and no model name becomes a formula', async () => {
  const answer = await get('/v1/payments/usage?format=csv&limit=4', anna.token);
  expect(answer.headers.get('content-type')).toContain('text/csv');
  expect(answer.headers.get('link')).toContain('after=request-1');
  const lines = (await answer.text()).split('\r\n');
  const at = (hours: number) => new Date(START + hours * 3_600_000).toISOString();
  expect(lines).toEqual([
    'job_id,model,prompt_tokens,completion_tokens,cost_micro_usd,timestamp,route,free_self_route,provider_id',
    `request-4,tiny,10,996,996,${at(4)},none,false,machine`,
    `request-3,"a,""b""",10,997,997,${at(3)},none,false,machine`,
    `request-2,tiny,10,998,998,${at(2)},none,false,machine`,
    `request-1,'=1+1,10,999,999,${at(1)},none,false,machine`,
    '',
  ]);
  const earned = await (await get('/v1/provider/account-earnings?format=csv&limit=1', host.token)).text();
  expect(earned.split('\r\n')[1]).toBe(`request-4,local/tiny,machine,10,996,996,${at(4)}`);
});

test('the wallet and its methods', async () => {
  const { token } = anna;
  expect((await house.call('GET', '/v1/billing/wallet/balance', { token })).json).toEqual({
    credit_balance_micro_usd: 5_010,
  });
  expect((await house.call('GET', '/v1/billing/methods', { token })).json).toEqual({ methods: [] });
});
