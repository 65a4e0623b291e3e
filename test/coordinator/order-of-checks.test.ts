import { expect, test } from 'vitest';
import { z } from 'zod';
import { MAX_REQUEST_BYTES } from '../../src/protocol/limits.js';
import { modelBody, registerModels } from './made-registry.js';
import { StartedCoordinator } from './started-coordinator.js';

const Refusal = z.object({ error: z.object({ code: z.string(), param: z.string().optional() }) });

test('of all that is wrong with a request, the first in the order of the contract is told', async () => {
  await using house = await StartedCoordinator.start();
  const { accounts, ledger } = house.coordinator;
  await registerModels(house, { alias: 'tiny', builds: ['local/tiny'] });
  await registerModels(house, { alias: 'retired', builds: ['local/retired'] });
  await house.call('PATCH', '/v1/admin/models/local/retired', { token: house.ownerToken, body: { active: false } });
  const guest = accounts.add('Ada', { acceptUnattested: true });
  const allowed = { allowed_models: ['tiny', 'retired', 'unknown'] };
  const key = accounts.keys.create(guest.id, { ...allowed, otpm_limit: 10 }).secret;
  const tired = accounts.keys.create(guest.id, { rpm_limit: 1 }).secret;
  await house.call('GET', '/v1/models', { token: tired });

  const told = async (token: string | undefined, body: unknown) => {
    const { status, json } = await house.call('POST', '/v1/chat/completions', { token, body });
    const { code, param } = Refusal.parse(json).error;
    return [status, code, param];
  };
  const large = 'x'.repeat(MAX_REQUEST_BYTES + 1);
  const messages = [{ role: 'user', content: 'Hi' }];
  const wrong = { n: 2, provider_serial: 'C02' };

  expect(await told(undefined, large)).toEqual([401, 'authentication_error', undefined]);
  expect((await told(tired, large))[0]).toBe(413);
  expect(await told(tired, large)).toEqual([429, 'rate_limit_exceeded', undefined]);
  expect(await told(key, large)).toEqual([413, 'invalid_request_error', undefined]);
  expect(await told(key, 'no json')).toEqual([400, 'invalid_request_error', undefined]);
  expect(await told(key, wrong)).toEqual([400, 'invalid_request_error', 'model']);
  expect(await told(key, { ...wrong, model: 'local/tiny' })).toEqual([403, 'model_not_allowed', 'model']);
  expect(await told(key, { ...wrong, model: 'tiny' })).toEqual([400, 'invalid_request_error', 'messages']);
  expect(await told(key, { ...wrong, model: 'tiny', messages })).toEqual([400, 'invalid_request_error', 'n']);
  expect(await told(key, { model: 'unknown', messages, provider_serial: 'C02' })).toEqual([
    404,
    'machine_not_found',
    'provider_serial',
  ]);
  expect(await told(key, { model: 'retired', messages: [{}] })).toEqual([503, 'model_unavailable', 'model']);
  expect(await told(key, { model: 'unknown', messages: [{}] })).toEqual([404, 'model_not_found', 'model']);
  expect((await told(key, { model: 'tiny', messages: [{}] }))[0]).toBe(400);
  const good = { model: 'tiny', messages, max_tokens: 10 };
  expect(await told(key, good)).toEqual([402, 'insufficient_quota', undefined]);
  expect(await told(key, good)).toEqual([429, 'rate_limit_exceeded', undefined]);
  house.clock.turn(60_000);
  ledger.credit(guest.id, 1_000_000n, 'test');
  expect(await told(key, good)).toEqual([503, 'model_unavailable', undefined]);
  expect(ledger.balance(guest.id).balance).toBe(1_000_000n);
});

test('a request is told how much its key has left in this minute', async () => {
  await using house = await StartedCoordinator.start();
  const { accounts, owner } = house.coordinator;
  await house.call('POST', '/v1/admin/models/register', { token: house.ownerToken, body: modelBody('local/tiny') });
  const { secret } = accounts.keys.create(owner.id, { rpm_limit: 1, itpm_limit: 100, otpm_limit: 50 });
  const ask = () =>
    fetch(`${house.coordinator.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}` },
      body: JSON.stringify({ model: 'local/tiny', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 20 }),
    });
  const first = await ask();
  expect(first.status).toBe(409); // no machine is linked
  expect(Object.fromEntries(first.headers)).toMatchObject({
    'x-ratelimit-limit-requests': '1',
    'x-ratelimit-remaining-requests': '0',
    'x-ratelimit-limit-input-tokens': '100',
    'x-ratelimit-remaining-output-tokens': '30',
  });
  const second = await ask();
  expect([second.status, second.headers.get('retry-after')]).toEqual([429, '60']);
});
