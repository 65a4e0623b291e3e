import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { desiredModels } from '../../src/coordinator/desired-models.js';
import { Identity } from '../../src/crypto/identity.js';
import type { Register } from '../../src/protocol/provider-messages.js';
import { sampleHeartbeat, sampleRegister } from '../support/sample-frames.js';
import { DiallingProvider } from './dialling-provider.js';
import { modelBody, registerModels } from './made-registry.js';
import { refusal } from './refusal.js';
import { BUILD } from './scripted-provider.js';
import { StartedCoordinator } from './started-coordinator.js';

let house: StartedCoordinator;
beforeEach(async () => {
  house = await StartedCoordinator.start();
});
afterEach(() => house[Symbol.asyncDispose]());

const asOwner = (method: string, path: string, body?: unknown) =>
  house.call(method, path, { token: house.ownerToken, body });

const Machines = z.object({ data: z.array(z.looseObject({ id: z.string(), connected: z.boolean() })) });
const machines = async () => Machines.parse((await asOwner('GET', '/v1/me/machines')).json).data;

/** A machine with a link of the owner's account that has registered, and whose first frames were read. */
async function linked(label: string, changes: Partial<Register> = {}) {
  const { accounts, owner, url } = house.coordinator;
  const token = accounts.mintProviderToken(owner.id, label);
  const provider = await DiallingProvider.dial(url);
  provider.say({
    ...sampleRegister({ build: BUILD, publicKey: new Identity().publicKey, linkToken: token }),
    ...changes,
  });
  const desired = await provider.next('desired_models');
  const id = (await machines()).find((machine) => machine['label'] === label)?.id ?? '';
  return { provider, token, id, desired };
}

describe('machines', () => {
  test('are listed with what they are, here or not', async () => {
    const { accounts, owner } = house.coordinator;
    const away = accounts.mintProviderToken(owner.id, 'device-AAAA-BBBB');
    const { provider, id } = await linked('device-7KQH-M2XP', { version: '0.7.0' });
    using _provider = provider;
    const list = await machines();
    expect(list).toEqual([
      {
        id: expect.stringMatching(/^mach_[0-9a-f]{24}$/u) as string,
        label: 'device-AAAA-BBBB',
        linked_at: new Date(house.clock.now()).toISOString(),
        connected: false,
      },
      {
        id,
        label: 'device-7KQH-M2XP',
        linked_at: new Date(house.clock.now()).toISOString(),
        connected: true,
        chip: 'Apple M4 Max',
        model: 'Mac16,5',
        version: '0.7.0',
        builds: [BUILD],
        orders: [],
      },
    ]);
    expect(JSON.stringify(list)).not.toContain(away.slice(-64));
  });

  test('lose their link: the token is dead and the connection ends', async () => {
    const { provider, token, id } = await linked('laptop');
    using _provider = provider;
    const guest = house.coordinator.accounts.add('Ada', { acceptUnattested: false });
    const theirs = house.coordinator.accounts.mintLoginToken(guest.id);
    const revoke = (as: string) => house.call('DELETE', `/v1/me/machines/${id}`, { token: as });
    expect(await revoke(theirs)).toEqual(refusal(404, 'not_found'));
    expect(await revoke(house.ownerToken)).toMatchObject({ status: 200, json: { status: 'revoked' } });
    expect(await provider.closed).toEqual([1008, 'the link of this machine was revoked']);
    expect(await machines()).toEqual([]);
    expect((await house.call('GET', '/v1/models', { token })).status).toBe(401);
    expect(await revoke(house.ownerToken)).toEqual(refusal(404, 'not_found'));
  });

  test('that come with a link that was revoked are told so', async () => {
    const { provider, token, id } = await linked('gone');
    using _provider = provider;
    await asOwner('DELETE', `/v1/me/machines/${id}`);
    using again = await DiallingProvider.dial(house.coordinator.url);
    again.say(sampleRegister({ build: BUILD, publicKey: new Identity().publicKey, linkToken: token }));
    const word = {
      trust_level: 'none',
      status: 'untrusted',
      reason: expect.stringContaining('link it anew') as string,
    };
    expect(await again.next('trust_status')).toMatchObject(word);
  });

  test('of several accounts stay apart', async () => {
    const { accounts, owner } = house.coordinator;
    const guest = accounts.add('Ada', { acceptUnattested: false });
    accounts.mintProviderToken(guest.id, 'hers');
    accounts.mintProviderToken(owner.id, 'mine');
    const hers = await house.call('GET', '/v1/me/machines', { token: accounts.mintLoginToken(guest.id) });
    expect(hers.json).toMatchObject({ data: [{ label: 'hers' }] });
    expect(await machines()).toMatchObject([{ label: 'mine' }]);
  });
});

describe('an order', () => {
  test('to load goes to the machine, and what it says of it is shown', async () => {
    await registerModels(house, { alias: 'tiny', builds: [BUILD] });
    const { provider, id } = await linked('laptop');
    using _provider = provider;
    expect(await asOwner('POST', `/v1/me/machines/${id}/load`, { model: 'tiny' })).toEqual({
      status: 202,
      json: { status: 'sent', model: BUILD },
    });
    expect(await provider.next('load_model')).toEqual({ type: 'load_model', model_id: BUILD });
    const orders = async () => (await machines())[0]?.['orders'];
    const order = { order: 'load_model', model: BUILD, given_at: new Date(house.clock.now()).toISOString() };
    expect(await orders()).toEqual([{ ...order, status: 'sent' }]);
    provider.say({ type: 'load_model_status', model_id: BUILD, status: 'failed', error: 'no room' });
    provider.say({ type: 'load_model_status', model_id: 'local/never-ordered', status: 'succeeded' });
    await provider.heard();
    expect(await orders()).toEqual([{ ...order, status: 'failed', error: 'no room' }]);
    await asOwner('POST', `/v1/me/machines/${id}/load`, { model: BUILD });
    expect(await orders()).toEqual([{ ...order, status: 'sent' }]);
  });

  test('to fetch a build names one of the registry, and its progress is shown', async () => {
    await registerModels(house, { alias: 'big', builds: ['local/big'] });
    const { provider, id } = await linked('laptop');
    using _provider = provider;
    expect((await asOwner('POST', `/v1/me/machines/${id}/prefetch`, { model: 'big' })).status).toBe(202);
    expect(await provider.next('prefetch_model')).toMatchObject({ model_id: 'local/big' });
    const status = { type: 'prefetch_model_status', model_id: 'local/big' } as const;
    provider.say({ ...status, status: 'downloading', bytes_done: 5, bytes_total: 10 });
    provider.say({ ...status, status: 'verified' });
    await provider.heard();
    expect((await machines())[0]).toMatchObject({
      orders: [{ order: 'prefetch_model', model: 'local/big', status: 'verified', bytes_done: 5, bytes_total: 10 }],
    });
  });

  test.each([
    ['load', { model: 'local/none' }, 404, 'model_not_found', 'model'],
    ['prefetch', { model: 'local/none' }, 404, 'model_not_found', 'model'],
    ['load', {}, 400, 'bad_request', 'model'],
    ['prefetch', { model: BUILD, when: 'now' }, 400, 'bad_request', 'when'],
  ])('to %s %j is refused', async (kind, body, status, type, param) => {
    const { provider, id } = await linked('laptop');
    using _provider = provider;
    expect(await asOwner('POST', `/v1/me/machines/${id}/${kind}`, body)).toEqual(refusal(status, type, param));
  });

  test('needs a machine of the account, and that it is here', async () => {
    const { accounts, owner } = house.coordinator;
    accounts.mintProviderToken(owner.id, 'away');
    const id = (await machines())[0]?.id ?? '';
    const load = (machine: string) => asOwner('POST', `/v1/me/machines/${machine}/load`, { model: BUILD });
    expect(await load('mach_none')).toEqual(refusal(404, 'not_found'));
    expect(await load(id)).toEqual(refusal(503, 'machine_offline'));
  });
});

describe('what a machine should come to serve', () => {
  const v2 = { id: 'tiny', displayName: 'Tiny', desiredBuild: 'v2', previousBuild: 'v1', retiredBuilds: ['v0'] };
  const wish = { model_name: 'tiny', desired_build: 'v2', previous_build: 'v1' };
  test.each([
    ['the desired build', ['v2'], ['v2'], [wish]],
    ['the previous build', ['v1'], ['v2'], [wish]],
    ['a retired build', ['v0'], ['v2'], [wish]],
    ['nothing of it', ['other'], ['v2'], []],
    ['a build of it, and the desired one is not active', ['v1'], ['v1'], []],
  ])('is said to one that has %s', (_, has, active, models) => {
    const said = desiredModels(new Set(has), [v2], (build) => active.includes(build));
    expect(said).toEqual({ type: 'desired_models', models });
  });

  test('is said when it comes and when an alias moves', async () => {
    await registerModels(house, { alias: 'tiny', builds: [BUILD] });
    const { provider, desired } = await linked('laptop');
    using _provider = provider;
    expect(desired.models).toEqual([{ model_name: 'tiny', desired_build: BUILD }]);
    await asOwner('POST', '/v1/admin/models/register', modelBody('local/tiny-v2'));
    expect((await provider.next('desired_models')).models).toHaveLength(1);
    await asOwner('PUT', '/v1/admin/aliases/tiny', { desired_build: 'local/tiny-v2' });
    expect((await provider.next('desired_models')).models).toEqual([
      { model_name: 'tiny', desired_build: 'local/tiny-v2', previous_build: BUILD },
    ]);
    await asOwner('DELETE', '/v1/admin/aliases/tiny');
    expect((await provider.next('desired_models')).models).toEqual([]);
  });
});

describe('/v1/models/capacity', () => {
  const Capacity = z.object({ models: z.array(z.looseObject({ id: z.string() })) });
  const capacity = async () => Capacity.parse((await house.call('GET', '/v1/models/capacity')).json).models;
  const nothing = {
    id: 'tiny',
    ready: false,
    can_accept: false,
    routable_providers: 0,
    warm_providers: 0,
    running_providers: 0,
    cold_providers: 0,
    active_requests: 0,
    queued_requests: 0,
    queue_limit: 10,
    aggregate_tps: 0,
    estimated_ttft_ms: null,
    token_budget_remaining: 0,
    token_budget_total: 0,
  };

  test('counts the machines that serve others, without a login, and looks every two seconds', async () => {
    await registerModels(house, { alias: 'tiny', builds: [BUILD] });
    expect(await capacity()).toEqual([nothing]);
    const identity = new Identity();
    const { provider } = await linked('laptop', { public_key: identity.publicKey });
    using _provider = provider;
    const { nonce, timestamp } = await provider.next('attestation_challenge');
    const signature = identity.sign(`${nonce}${timestamp}`);
    provider.say({ type: 'attestation_response', nonce, signature, public_key: identity.publicKey });
    const beat = {
      status: 'serving',
      state: 'running',
      running: 1,
      waiting: 2,
      observed_decode_tps: 40,
      observed_prefill_tps: 500,
      active_token_budget_used: 1_000,
      active_token_budget_max: 8_192,
    };
    provider.say(sampleHeartbeat(BUILD, beat));
    await provider.heard();
    expect(await capacity()).toEqual([nothing]);
    house.clock.turn(2_000);
    expect(await capacity()).toEqual([
      {
        ...nothing,
        ready: true,
        can_accept: true,
        routable_providers: 1,
        warm_providers: 1,
        running_providers: 1,
        active_requests: 1,
        queued_requests: 2,
        aggregate_tps: 40,
        estimated_ttft_ms: 2_000,
        token_budget_remaining: 7_192,
        token_budget_total: 8_192,
      },
    ]);
  });

  test('says nothing of machines that serve their owner alone', async () => {
    await registerModels(house, { alias: 'tiny', builds: [BUILD] });
    const identity = new Identity();
    const { provider } = await linked('laptop', { public_key: identity.publicKey, private_only: true });
    using _provider = provider;
    const { nonce, timestamp } = await provider.next('attestation_challenge');
    const signature = identity.sign(`${nonce}${timestamp}`);
    provider.say({ type: 'attestation_response', nonce, signature, public_key: identity.publicKey });
    await provider.heard();
    expect(await capacity()).toEqual([nothing]);
  });
});
