import { expect, test } from 'vitest';
import type { ApiKey } from '../../src/coordinator/keys.js';
import { RateLimits } from '../../src/coordinator/rate-limits.js';
import { HandClock } from './temporary-database.js';

function keyWith(limits: Partial<Pick<ApiKey, 'rpmLimit' | 'itpmLimit' | 'otpmLimit'>>, id = 'key_1'): ApiKey {
  return {
    id,
    accountId: 'acct_1',
    name: '',
    label: '',
    disabled: false,
    allowedModels: [],
    selfRouteOnly: false,
    limitMicroUsd: undefined,
    limitWindow: undefined,
    rpmLimit: undefined,
    itpmLimit: undefined,
    otpmLimit: undefined,
    expiresAt: undefined,
    createdAt: 0,
    lastUsedAt: undefined,
    ...limits,
  };
}

function refused(retryAfterS: number): unknown {
  return expect.objectContaining({ code: 'over_capacity', retryAfterS });
}

test('a key without limits is never refused, and has no headers', () => {
  const limits = new RateLimits(new HandClock());
  for (let request = 0; request < 100; request++) {
    expect(limits.admitRequest(keyWith({}))).toEqual({});
    expect(limits.admitTokens(keyWith({}), { input: 1e9, output: 1e9 })).toEqual({});
  }
});

test('requests are counted in a bucket that fills again within a minute', () => {
  const clock = new HandClock();
  const limits = new RateLimits(clock);
  const key = keyWith({ rpmLimit: 3 });
  expect(limits.admitRequest(key)).toEqual({
    'x-ratelimit-limit-requests': '3',
    'x-ratelimit-remaining-requests': '2',
    'x-ratelimit-reset-requests': '20s',
  });
  limits.admitRequest(key);
  expect(limits.admitRequest(key)).toMatchObject({ 'x-ratelimit-remaining-requests': '0' });
  expect(() => limits.admitRequest(key)).toThrow(refused(20));
  clock.pass(19_999);
  expect(() => limits.admitRequest(key)).toThrow(refused(1));
  clock.pass(1);
  limits.admitRequest(key);
  clock.pass(600_000);
  expect(limits.admitRequest(key)).toMatchObject({ 'x-ratelimit-remaining-requests': '2' });
});

test('each key has its own', () => {
  const limits = new RateLimits(new HandClock());
  limits.admitRequest(keyWith({ rpmLimit: 1 }));
  limits.admitRequest(keyWith({ rpmLimit: 1 }, 'key_2'));
  expect(() => limits.admitRequest(keyWith({ rpmLimit: 1 }))).toThrow(refused(60));
});

test('a request that is refused for one kind of tokens takes none of the other', () => {
  const limits = new RateLimits(new HandClock());
  const key = keyWith({ itpmLimit: 1_000, otpmLimit: 100 });
  limits.admitTokens(key, { input: 400, output: 60 });
  expect(() => limits.admitTokens(key, { input: 400, output: 60 })).toThrow(refused(12));
  expect(limits.admitTokens(key, { input: 600, output: 40 })).toMatchObject({
    'x-ratelimit-remaining-input-tokens': '0',
    'x-ratelimit-remaining-output-tokens': '0',
  });
});

test("a request larger than the limit is served from a whole minute's share", () => {
  const clock = new HandClock();
  const limits = new RateLimits(clock);
  const key = keyWith({ otpmLimit: 100 });
  limits.admitTokens(key, { input: 0, output: 8_192 });
  expect(() => limits.admitTokens(key, { input: 0, output: 1 })).toThrow(refused(1));
  clock.pass(60_000);
  limits.admitTokens(key, { input: 0, output: 8_192 });
});
