import { describe, expect, test } from 'vitest';
import type { Caller } from '../../src/coordinator/accounts.js';
import { RateLimited, RateLimits, type Rates } from '../../src/coordinator/rate-limits.js';
import { SPENDING_WINDOWS, windowStart } from '../../src/coordinator/spending-window.js';
import { ManualClock } from '../support/manual-clock.js';
import { vectors } from './billing-vectors.js';
import { PaidHouse, Refused } from './paid-house.js';

// Another word is refused where a key is made.
const windows = vectors.key_window_start_utc.flatMap((vector) => {
  const window = SPENDING_WINDOWS.find((known) => known === vector.limit_reset);
  return window === undefined && vector.limit_reset !== 'none' ? [] : [{ ...vector, window }];
});

describe('a window of spending', () => {
  test.each(windows)('at $now, $limit_reset, began at $out', ({ now, window, out }) => {
    expect(windowStart(window, Date.parse(now))).toBe(out === null ? 0 : Date.parse(out));
  });

  test.each(['2024-02-29T23:59:59Z', '2027-01-01T00:00:00Z', '1970-01-01T00:00:00Z'])('of a week, %s', (now) => {
    const start = windowStart('weekly', Date.parse(now));
    expect(new Date(start).getUTCDay()).toBe(1);
    expect(Date.parse(now) - start).toBeLessThan(7 * 86_400_000);
  });
});

const account = { id: 'acct_a', name: 'a', isOwner: false, acceptUnattested: false };
const byLogin: Caller = { account, via: 'login' };

function limits(rates: { account?: Rates; key?: Rates }) {
  const clock = new ManualClock();
  const key = {
    id: 'key_1',
    rpmLimit: rates.key?.requestsPerMinute,
    itpmLimit: rates.key?.inputTokensPerMinute,
    otpmLimit: rates.key?.outputTokensPerMinute,
  };
  const byKey = { account, via: 'key', key } as Caller;
  return { clock, byKey, all: new RateLimits({ account: rates.account ?? {}, clock }) };
}

function refusalOf(work: () => unknown): RateLimited {
  try {
    work();
  } catch (error) {
    if (error instanceof RateLimited) return error;
  }
  throw new Error('It was not refused.');
}

describe('requests a minute', () => {
  test('are taken as fast as they come until a minute is used up, and then evenly', () => {
    const { all, clock } = limits({ account: { requestsPerMinute: 3 } });
    for (const remaining of ['2', '1', '0']) {
      expect(all.request(byLogin)['x-ratelimit-remaining-requests']).toBe(remaining);
    }
    expect(refusalOf(() => all.request(byLogin)).retryAfterS).toBe(20);
    clock.turn(19_999);
    expect(refusalOf(() => all.request(byLogin)).retryAfterS).toBe(1);
    clock.turn(1);
    expect(all.request(byLogin)).toEqual({
      'x-ratelimit-limit-requests': '3',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '60s',
    });
  });

  test('refused for the key take nothing from the account, and the other way round', () => {
    const { all, byKey } = limits({ account: { requestsPerMinute: 2 }, key: { requestsPerMinute: 1 } });
    all.request(byKey);
    expect(refusalOf(() => all.request(byKey)).message).toContain("the key's limit is 1 requests a minute");
    all.request(byLogin);
    expect(refusalOf(() => all.request(byLogin)).message).toContain("the account's limit is 2 requests a minute");
  });

  test('are not limited where nobody set a limit', () => {
    const { all, byKey } = limits({});
    for (let request = 0; request < 100; request++) expect(all.request(byKey)).toEqual({});
  });
});

describe('tokens a minute', () => {
  const rates = { inputTokensPerMinute: 100, outputTokensPerMinute: 600 };

  test('count the prompt and the most that may be written', () => {
    const { all, byKey, clock } = limits({ key: rates });
    all.tokens(byKey, 60, 500);
    expect(refusalOf(() => all.tokens(byKey, 41, 1)).message).toMatch(/^Too many input tokens/u);
    const refusal = refusalOf(() => all.tokens(byKey, 1, 200));
    expect([refusal.retryAfterS, refusal.status, refusal.type]).toEqual([10, 429, 'rate_limit_exceeded']);
    expect(refusal.headers['X-RateLimit-Reset']).toBe(String(Math.ceil(clock.now() / 1_000) + 10));
    all.tokens(byKey, 40, 100); // what was refused has taken nothing
  });

  test('of one request above the limit take the whole minute', () => {
    const { all, byKey } = limits({ key: rates });
    expect(all.tokens(byKey, 101, 1)['x-ratelimit-remaining-input-tokens']).toBe('0');
    expect(refusalOf(() => all.tokens(byKey, 101, 1)).retryAfterS).toBe(60);
  });

  test('written beyond what was counted are owed', () => {
    const { all, byKey, clock } = limits({ key: rates });
    all.tokens(byKey, 1, 600);
    all.excess(byKey, 60);
    clock.turn(5_999);
    expect(refusalOf(() => all.tokens(byKey, 1, 1)).retryAfterS).toBe(1);
    clock.turn(6_001);
    all.tokens(byKey, 1, 1);
  });
});

test('over HTTP: 429 with Retry-After and the headers, before the body is looked at and before any money moves', async () => {
  await using house = await PaidHouse.open({ accountRates: { requestsPerMinute: 1 } });
  house.ledger.credit(house.consumer.id, 1_000_000n, 'test');
  expect((await house.ask({ model: 'nobody' })).status).toBe(404);
  const refused = await house.ask({ model: 7 });
  expect(refused.status).toBe(429);
  expect(Refused.parse(await refused.json()).error).toEqual({
    type: 'rate_limit_exceeded',
    code: 'rate_limit_exceeded',
  });
  const headers = ['retry-after', 'x-ratelimit-limit-requests', 'x-ratelimit-remaining-requests', 'x-ratelimit-reset'];
  const resetAt = String(Math.ceil(house.started.clock.now() / 1_000) + 60);
  expect(headers.map((name) => refused.headers.get(name))).toEqual(['60', '1', '0', resetAt]);
  expect(house.ledger.rows(house.consumer.id)).toHaveLength(1);
  house.started.clock.sleep(60_000);
  expect((await house.ask({ model: 'nobody' })).status).toBe(404);
});

test('over HTTP: the token limit of a key, after the body is checked and before the hold', async () => {
  await using house = await PaidHouse.open();
  house.ledger.credit(house.consumer.id, 1_000_000n, 'test');
  house.behind((database) => database.run('UPDATE api_keys SET otpm_limit = 100 WHERE id = ?', house.consumer.keyId));
  expect((await house.ask({ max_tokens: 60 })).status).toBe(503); // no machine: all other checks are passed
  const rows = house.ledger.rows(house.consumer.id).length;
  expect((await house.ask({ max_tokens: 41 })).status).toBe(429);
  expect((await house.ask({ max_tokens: 41, n: 2 })).status).toBe(400);
  expect(house.ledger.rows(house.consumer.id)).toHaveLength(rows);
});
