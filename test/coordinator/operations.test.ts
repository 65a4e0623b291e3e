import { request } from 'node:http';
import { json, text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { PaidHouse, BUILD } from './paid-house.js';

const HIDDEN = ['consumer', 'stranger', 'owner', 'sk-db-', 'acct_', 'key_', BUILD];

/** One request to a path, as a browser or a program would name the host. */
function get(house: PaidHouse, path: string, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; text: () => Promise<string>; json: () => Promise<unknown> }>(
    (resolve, reject) => {
      const sent = request(`${house.started.coordinator.url}${path}`, { headers }, (response) =>
        resolve({ status: response.statusCode ?? 0, text: () => text(response), json: () => json(response) }),
      );
      sent.on('error', reject);
      sent.end();
    },
  );
}

const answering = (house: PaidHouse, owner: 'consumer' | 'stranger') =>
  house.machineOf(owner, (request) => {
    request.accept();
    request.write('x');
    request.complete({ prompt_tokens: 90, completion_tokens: 300 });
  });

test('metrics count requests, tokens and money, and name nobody', async () => {
  await using house = await PaidHouse.open();
  house.ledger.credit(house.consumer.id, 1_000_000n, 'test');
  expect((await house.ask({ max_tokens: 1_000 })).status).toBe(503); // no machine yet
  await answering(house, 'stranger');
  expect((await house.ask({ max_tokens: 1_000 })).status).toBe(200);
  const metrics = await (await get(house, '/metrics')).text();
  for (const line of [
    'darkbloom_inference_responses_total{status="503"} 1',
    'darkbloom_inference_responses_total{status="200"} 1',
    'darkbloom_first_token_seconds_count 1',
    'darkbloom_settled_requests_total{route="none"} 1',
    'darkbloom_refunded_holds_total{reason="reservation_refund"} 1',
    'darkbloom_tokens_total{kind="prompt"} 90',
    'darkbloom_tokens_total{kind="completion"} 300',
    'darkbloom_charged_micro_usd_total 100',
    'darkbloom_requests_running 0',
    'darkbloom_providers_connected 1',
  ]) {
    expect(metrics.split('\n')).toContain(line);
  }
  for (const name of HIDDEN) expect(metrics).not.toContain(name);
});

test('metrics are for programs here and for the owner', async () => {
  await using house = await PaidHouse.open();
  const status = async (headers: Record<string, string>) => (await get(house, '/metrics', headers)).status;
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  expect(await status({})).toBe(200);
  expect(await status({ host: 'rebound.example.com' })).toBe(401); // a page that a browser here took from elsewhere
  expect(await status({ host: 'studio.local', ...bearer(house.started.ownerToken) })).toBe(200);
  expect(await status(bearer(house.consumer.key))).toBe(403);
  expect(await status(bearer('wrong'))).toBe(401);
});

test('statistics are public, cached, and leave out what is free and private', async () => {
  await using house = await PaidHouse.open();
  const { clock } = house.started;
  house.ledger.credit(house.consumer.id, 1_000_000n, 'test');
  const stats = async () => (await get(house, '/v1/stats')).json();
  expect(await stats()).toMatchObject({ total_requests: 0, active_providers: 0, models: [], time_series: [] });
  const machine = await answering(house, 'stranger');
  expect((await house.ask({ max_tokens: 1_000 })).status).toBe(200);
  expect(await stats()).toMatchObject({ total_requests: 0 });
  clock.sleep(15_000);
  const minute = new Date(Math.floor(clock.now() / 60_000) * 60_000).toISOString();
  const counted = { requests: 1, prompt_tokens: 90, completion_tokens: 300 };
  expect(await stats()).toMatchObject({
    total_requests: 1,
    total_tokens: 390,
    active_providers: 1,
    providers: [{ chip: 'Apple M4 Max', models: [BUILD] }],
    models: [{ model: 'tiny', ...counted }],
    time_series: [{ timestamp: minute, ...counted }],
    geography: [],
  });
  machine.hangUp();
  await machine.closed;

  await answering(house, 'consumer');
  expect((await house.ask({}, { route: 'self' })).status).toBe(200);
  clock.sleep(30 * 60_000);
  expect(await stats()).toMatchObject({ total_requests: 1, models: [{ requests: 1 }], time_series: [] });
});
