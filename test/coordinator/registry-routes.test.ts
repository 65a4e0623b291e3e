import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { aliasAfter } from '../../src/coordinator/model-input.js';
import { modelBody, registerModels } from './made-registry.js';
import { refusal } from './refusal.js';
import { StartedCoordinator } from './started-coordinator.js';

let house: StartedCoordinator;
beforeEach(async () => {
  house = await StartedCoordinator.start();
});
afterEach(() => house[Symbol.asyncDispose]());

const asOwner = (method: string, path: string, body?: unknown) =>
  house.call(method, path, { token: house.ownerToken, body });
const register = (body: object) => asOwner('POST', '/v1/admin/models/register', body);

const SHA = 'ab'.repeat(32);
const FILES = [
  { path: 'b.gguf', size_bytes: 2_000_000_000, sha256: SHA },
  { path: 'a.gguf', size_bytes: 3_000_000_000, sha256: 'cd'.repeat(32) },
];
/** SHA-256 over the raw digests in the order of the paths, by another program:
 *  `printf '%s%s' cd… ab… | xxd -r -p | sha256sum`. */
const AGGREGATE = 'f1dd32fe03b729070de4cab17d02aa7353b165fb133dda9744e0d956f9af8537';

test('any web page may read the catalogue and the prices, and change nothing', async () => {
  const allowed = async (method: string, path: string) =>
    (await house.ask(method, path, { asText: true })).headers.get('access-control-allow-origin');
  for (const path of ['/v1/models/catalog', '/v1/pricing', '/v1/stats']) expect(await allowed('GET', path)).toBe('*');
  for (const method of ['PUT', 'DELETE']) expect(await allowed(method, '/v1/pricing')).toBeNull();
  expect(await allowed('GET', '/v1/models')).toBeNull();
});

const Listed = z.object({ data: z.array(z.looseObject({ id: z.string() })) });
const consumerIds = async () => Listed.parse((await asOwner('GET', '/v1/models')).json).data.map(({ id }) => id);

describe('a build', () => {
  test('is registered with its files, and shown to providers and to the owner', async () => {
    const body = modelBody('local/tiny', {
      files: FILES,
      source: 'huggingface',
      description: 'A small one.',
      capabilities: ['chat', 'tools'],
      metadata: { hugging_face_id: 'someone/tiny', deprecation_date: '2027-01-01' },
      input_price: 30_000,
      output_price: 165_000,
    });
    expect((await register(body)).status).toBe(200);
    const entry = (await house.call('GET', '/v1/models/catalog/local/tiny')).json;
    expect(entry).toMatchObject({
      id: 'local/tiny',
      size_gb: 5,
      total_size_bytes: 5_000_000_000,
      file_count: 2,
      files: FILES,
      weight_hash: AGGREGATE,
      aggregate_sha256: AGGREGATE,
      active: true,
      status: 'active',
      version: 'v1',
      description: 'A small one.',
      hugging_face_id: 'someone/tiny',
      supported_features: ['tools'],
      format: 'gguf',
    });
    expect((await house.call('GET', '/v1/models/catalog/manifest/local/tiny')).json).toMatchObject({
      model_id: 'local/tiny',
      aggregate_sha256: AGGREGATE,
      total_size_bytes: 5_000_000_000,
    });
    expect((await asOwner('GET', '/v1/models/local/tiny')).json).toMatchObject({
      quantization: 'int4',
      hugging_face_id: 'someone/tiny',
      deprecation_date: '2027-01-01',
      description: 'A small one.',
      pricing: { prompt: '0.00000003', completion: '0.000000165' },
    });
    expect((await asOwner('GET', '/v1/admin/models')).json).toMatchObject({
      models: [{ id: 'local/tiny', input_price: 30_000, output_price: 165_000 }],
      aliases: [],
    });
  });

  test('that is not promoted waits until it is activated, and is retired again', async () => {
    await register(modelBody('local/tiny', { promote: false }));
    const inCatalog = async () => (await house.call('GET', '/v1/models/catalog/local/tiny')).status;
    const activate = (active: boolean) => asOwner('PATCH', '/v1/admin/models/local/tiny', { active });
    expect(await inCatalog()).toBe(404);
    expect((await activate(true)).json).toMatchObject({ model: { active: true, status: 'active' } });
    expect(await inCatalog()).toBe(200);
    expect((await activate(false)).json).toMatchObject({ model: { active: false, status: 'inactive' } });
    expect(await inCatalog()).toBe(404);
  });

  test('that is active is replaced only where that is said', async () => {
    await register(modelBody('local/tiny'));
    expect(await register(modelBody('local/tiny', { version: 'v2', promote: false }))).toEqual(
      refusal(409, 'conflict', 'promote'),
    );
    expect((await register(modelBody('local/tiny', { version: 'v2' }))).json).toMatchObject({
      model: { version: 'v2' },
    });
  });

  test.each<[object, string]>([
    [{ model_id: '/tiny' }, 'model_id'],
    [{ model_id: 'a/../b' }, 'model_id'],
    [{ model_id: 'x'.repeat(201) }, 'model_id'],
    [{ version: 'v/1' }, 'version'],
    [{ display_name: ' ' }, 'display_name'],
    [{ max_context_length: 0 }, 'max_context_length'],
    [{ max_output_length: '512' }, 'max_output_length'],
    [{ min_ram_gb: -1 }, 'min_ram_gb'],
    [{ capabilities: 'chat' }, 'capabilities'],
    [{ promote: 'yes' }, 'promote'],
    [{ input_price: 0, output_price: 1 }, 'input_price'],
    [{ input_price: 1 }, 'output_price'],
    [{ output_price: 1 }, 'input_price'],
    [{ files: [{ ...FILES[0], path: '../etc/passwd' }] }, 'files'],
    [{ files: [{ ...FILES[0], path: '/a.gguf' }] }, 'files'],
    [{ files: [{ ...FILES[0], path: 'a\\b.gguf' }] }, 'files'],
    [{ files: [{ ...FILES[0], sha256: SHA.toUpperCase() }] }, 'files'],
    [{ files: [FILES[0], { ...FILES[0], path: 'B.GGUF' }] }, 'files'],
    [{ colour: 'blue' }, 'colour'],
  ])('with %j is refused, naming the field, and nothing is registered', async (changes, param) => {
    expect(await register(modelBody('local/tiny', changes))).toEqual(refusal(400, 'bad_request', param));
    expect((await asOwner('GET', '/v1/admin/models')).json).toEqual({ models: [], aliases: [] });
  });

  test('cannot be changed where there is none', async () => {
    expect(await asOwner('PATCH', '/v1/admin/models/local/none', { active: true })).toEqual(
      refusal(404, 'not_found', 'model'),
    );
  });
});

describe('an alias', () => {
  test('is all that consumers see of its builds, and follows the desired one', async () => {
    await registerModels(house, { alias: 'tiny', builds: ['local/tiny-v1'] });
    expect(await consumerIds()).toEqual(['tiny']);
    await register(modelBody('local/tiny-v2', { max_context_length: 8_192 }));
    const moved = await asOwner('PUT', '/v1/admin/aliases/tiny', { desired_build: 'local/tiny-v2' });
    expect(moved.json).toEqual({
      alias: {
        id: 'tiny',
        display_name: 'tiny',
        desired_build: 'local/tiny-v2',
        previous_build: 'local/tiny-v1',
        retired_builds: [],
        primary_build: 'local/tiny-v2',
      },
    });
    expect((await asOwner('GET', '/v1/models/tiny')).json).toMatchObject({ id: 'tiny', context_length: 8_192 });
    await asOwner('PATCH', '/v1/admin/models/local/tiny-v2', { active: false });
    expect((await asOwner('GET', '/v1/models/tiny')).json).toMatchObject({ context_length: 4_096 });
    const catalog = (await house.call('GET', '/v1/models/catalog?include_aliases=1')).json;
    expect(catalog).toMatchObject({ aliases: [{ id: 'tiny', primary_build: 'local/tiny-v1' }] });
    await asOwner('PATCH', '/v1/admin/models/local/tiny-v1', { active: false });
    expect(await consumerIds()).toEqual([]);
    expect((await house.call('GET', '/v1/models/catalog?include_aliases=1')).json).toEqual({ models: [], aliases: [] });
    expect((await asOwner('DELETE', '/v1/admin/aliases/tiny')).json).toEqual({ status: 'removed' });
    expect(await asOwner('DELETE', '/v1/admin/aliases/tiny')).toEqual(refusal(404, 'not_found'));
  });

  test('on its entry nothing is said of single machines or of a quantization', async () => {
    await registerModels(house, { alias: 'tiny', builds: ['local/tiny'] });
    const { json } = await asOwner('GET', '/v1/models/tiny');
    expect(json).not.toHaveProperty('quantization');
    expect(json).toMatchObject({
      metadata: { provider_count: 0, attested_providers: 0, trust_level: '', quantization: '' },
    });
  });

  test.each<[string, object, number, string, string]>([
    ['tiny', { desired_build: 'local/none' }, 400, 'bad_request', 'desired_build'],
    ['tiny', { desired_build: 'local/tiny', previous_build: 'local/none' }, 400, 'bad_request', 'previous_build'],
    ['tiny', {}, 400, 'bad_request', 'desired_build'],
    ['tiny', { desired_build: 'local/tiny', colour: 'blue' }, 400, 'bad_request', 'colour'],
    ['local/tiny', { desired_build: 'local/tiny' }, 409, 'conflict', 'alias'],
    ['a%20b', { desired_build: 'local/tiny' }, 400, 'bad_request', 'alias'],
  ])('%s as %j is refused', async (alias, body, status, type, param) => {
    await register(modelBody('local/tiny'));
    expect(await asOwner('PUT', `/v1/admin/aliases/${alias}`, body)).toEqual(refusal(status, type, param));
    expect((await asOwner('GET', '/v1/admin/models')).json).toMatchObject({ aliases: [] });
  });

  test('takes its name from a build to come', async () => {
    await registerModels(house, { alias: 'tiny', builds: ['local/tiny'] });
    expect(await register(modelBody('tiny'))).toEqual(refusal(409, 'conflict', 'model_id'));
  });

  const named = { id: 'a', displayName: 'A', desiredBuild: 'v2', previousBuild: 'v1', retiredBuilds: ['v0'] };
  test.each([
    [undefined, { desired_build: 'v1' }, ['v1', undefined, []]],
    [named, { desired_build: 'v3' }, ['v3', 'v2', ['v0', 'v1']]],
    [named, { desired_build: 'v2' }, ['v2', 'v1', ['v0']]],
    [named, { desired_build: 'v1' }, ['v1', 'v2', ['v0']]],
    [named, { desired_build: 'v3', previous_build: null }, ['v3', undefined, ['v0', 'v1', 'v2']]],
    [named, { desired_build: 'v0', previous_build: 'v0' }, ['v0', undefined, ['v1', 'v2']]],
  ])('%j becomes, by %j, %j', (current, wish, [desired, previous, retired]) => {
    const after = aliasAfter('a', current, wish);
    expect([after.desiredBuild, after.previousBuild, after.retiredBuilds]).toEqual([desired, previous, retired]);
  });
});

describe('a price', () => {
  const price = (model: string, changes: object = {}) => ({
    model,
    input_price: 30_000,
    output_price: 165_000,
    ...changes,
  });

  test('of the platform is listed under the build and under its alias', async () => {
    await registerModels(house, { alias: 'tiny', builds: ['local/tiny'] });
    expect((await asOwner('PUT', '/v1/admin/pricing', price('local/tiny'))).status).toBe(200);
    const row = { input_price: 30_000, output_price: 165_000, input_usd: '$0.0300', output_usd: '$0.1650' };
    expect((await house.call('GET', '/v1/pricing')).json).toMatchObject({
      prices: [
        { model: 'tiny', ...row },
        { model: 'local/tiny', ...row },
      ],
    });
  });

  test("of one's own machines is set and taken back", async () => {
    await registerModels(house, { alias: 'tiny', builds: ['local/tiny'] });
    const body = { model: 'local/tiny' };
    expect((await asOwner('PUT', '/v1/pricing', price('local/tiny'))).status).toBe(200);
    expect((await house.call('GET', '/v1/pricing')).json).toMatchObject({ prices: [] });
    expect((await asOwner('DELETE', '/v1/pricing', body)).json).toEqual({ status: 'deleted' });
    expect(await asOwner('DELETE', '/v1/pricing', body)).toEqual(refusal(404, 'not_found', 'model'));
  });

  test.each(['/v1/pricing', '/v1/admin/pricing'])('at %s is checked', async (path) => {
    await registerModels(house, { alias: 'tiny', builds: ['local/tiny'] });
    const put = (changes: object) => asOwner('PUT', path, price('local/tiny', changes));
    expect(await put({ input_price: 0 })).toEqual(refusal(400, 'bad_request', 'input_price'));
    expect(await put({ output_price: 1.5 })).toEqual(refusal(400, 'bad_request', 'output_price'));
    expect(await put({ currency: 'EUR' })).toEqual(refusal(400, 'bad_request', 'currency'));
    expect(await put({ model: 'tiny' })).toEqual(refusal(404, 'not_found', 'model'));
    expect((await house.call('GET', '/v1/pricing')).json).toMatchObject({ prices: [] });
  });
});

test.each([
  ['GET', '/v1/admin/models'],
  ['POST', '/v1/admin/models/register'],
  ['PATCH', '/v1/admin/models/local/tiny'],
  ['PUT', '/v1/admin/aliases/tiny'],
  ['DELETE', '/v1/admin/aliases/tiny'],
  ['PUT', '/v1/admin/pricing'],
])("%s %s needs the owner's login", async (method, path) => {
  const { accounts, owner } = house.coordinator;
  const guest = accounts.mintLoginToken(accounts.add('Ada', { acceptUnattested: false }).id);
  const key = accounts.keys.create(owner.id, {}).secret;
  const body = method === 'GET' ? undefined : 'no json';
  expect(await house.call(method, path, { body })).toEqual(refusal(401, 'authentication_error'));
  for (const token of [guest, key])
    expect(await house.call(method, path, { body, token })).toEqual(refusal(403, 'forbidden'));
});

test('/readyz says whether requests are taken', async () => {
  expect(await house.call('GET', '/readyz')).toEqual({
    status: 200,
    json: { draining: false, inflight: 0, ready: true },
  });
  await house.coordinator.drain();
  expect(await house.call('GET', '/readyz')).toEqual({
    status: 503,
    json: { draining: true, inflight: 0, ready: false },
  });
  expect((await house.call('GET', '/v1/models/capacity')).json).toEqual({ models: [], draining: true });
});
