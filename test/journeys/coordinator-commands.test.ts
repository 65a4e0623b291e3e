import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { coordinatorCommand } from '../../src/cli/commands/coordinator.js';
import { KeysOutput } from '../../src/cli/commands/coordinator/keys.js';
import { MachinesOutput } from '../../src/cli/commands/coordinator/machines.js';
import { RegistryOutput } from '../../src/cli/commands/coordinator/registry.js';
import { eventually } from '../support/eventually.js';
import { RunningDaemon } from '../support/running-daemon.js';

const TINY = 'local/darkbloom-tiny-chat-f16';
/** A build of the catalogue that fits no machine with so little memory. */
const LARGE = 'local/qwen3.5-122b-q4_k_m';

let daemon: RunningDaemon;
beforeAll(async () => {
  daemon = await RunningDaemon.start({ 'models.follow_coordinator': true, 'engine.memory_limit_gb': 2 });
  vi.stubEnv('DARKBLOOM_PROVIDER_HOME', daemon.home.folder);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await daemon[Symbol.asyncDispose]();
});

/** Runs a command of `coordinator` in this process, against the coordinator in the daemon's home.
 *  @returns what it printed. */
async function done(...args: string[]): Promise<string> {
  let printed = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  try {
    await coordinatorCommand().parseAsync(args, { from: 'user' });
  } finally {
    write.mockRestore();
  }
  return printed;
}

describe('coordinator keys', () => {
  test('makes a key with limits, rotates it and revokes it; its secret is shown by the first two alone', async () => {
    const made = await done('keys', 'create', 'laptop', '--limit', '2.5', '--reset', 'monthly', '--models', 'a,b');
    const secret = made.trimEnd().split('\n').at(-1) ?? '';
    expect(secret).toMatch(/^sk-db-[0-9a-f]{64}$/u);
    const shown = await done('keys', '--json');
    const key = KeysOutput.parse(JSON.parse(shown)).keys.find(({ name }) => name === 'laptop');
    expect(key).toMatchObject({ limit_usd: 2.5, limit_reset: 'monthly', allowed_models: ['a', 'b'] });
    const id = key?.id ?? '';
    await done('keys', 'change', id, '--limit', 'none', '--models', '', '--disable', '--rpm', '60');
    const table = await done('keys');
    expect(table).toMatch(/laptop .*none .*disabled/u);
    expect(shown + table).not.toContain(secret);
    await done('keys', 'change', id, '--enable');
    const rotated = (await done('keys', 'rotate', id)).trimEnd().split('\n').at(-1) ?? '';
    const status = async (token: string) => (await daemon.call('GET', '/v1/key', { token })).status;
    expect([await status(secret), await status(rotated)]).toEqual([401, 200]);
    await done('keys', 'revoke', id);
    expect(await status(rotated)).toBe(401);
  });

  test.each<[string[], string]>([
    [['keys', 'change', 'key_none', '--rpm', '1'], 'There is no key with this id in your account.'],
    [['keys', 'change', 'key_none'], 'Say what to change'],
    [['keys', 'create', '--reset', 'hourly'], "'limit_reset'"],
  ])('%j is refused with 64', async (args, said) => {
    await expect(done(...args)).rejects.toThrow(
      expect.objectContaining({ exitCode: 64, message: expect.stringContaining(said) as string }),
    );
  });
});

describe('coordinator machines', () => {
  const machine = async () => MachinesOutput.parse(JSON.parse(await done('machines', '--json'))).machines[0];

  test('asks this machine to load a model, and it does', async () => {
    const { id = '' } = (await machine()) ?? {};
    await done('machines', 'load', id, 'darkbloom-tiny-chat');
    const order = await eventually('the model is loaded', async () => {
      const { orders = [] } = (await machine()) ?? {};
      return orders.find(({ status }) => status === 'succeeded' || status === 'failed');
    });
    expect(order).toMatchObject({ order: 'load_model', model: TINY, status: 'succeeded' });
    expect(daemon.daemon.status().models).toMatchObject([{ build: TINY, state: 'ready' }]);
  });

  test('asks it to fetch one that does not fit, and it says so', async () => {
    const { id = '' } = (await machine()) ?? {};
    const body = {
      model_id: LARGE,
      display_name: 'Large',
      family: 'qwen',
      architecture: 'qwen35moe',
      quantization: 'Q4_K_M',
      max_context_length: 8_192,
      max_output_length: 8_192,
      min_ram_gb: 128,
      promote: true,
    };
    const file = join(daemon.home.folder, 'large.json');
    writeFileSync(file, JSON.stringify(body));
    await done('registry', 'add', file);
    await done('machines', 'prefetch', id, LARGE);
    const order = await eventually('it is declined', async () =>
      (await machine())?.orders?.find(({ order, status }) => order === 'prefetch_model' && status === 'failed'),
    );
    expect(order?.error).toBe('the model does not fit the memory of this machine');
  });
});

test('coordinator registry: a build gets a price and a name, and is retired', async () => {
  await done('registry', 'price', TINY, '0.05', '0.2');
  await done('registry', 'alias', 'small', TINY, '--display-name', 'Small');
  const listed = async () => RegistryOutput.parse(JSON.parse(await done('registry', '--json')));
  const { models, aliases } = await listed();
  expect(models.find(({ id }) => id === TINY)).toMatchObject({
    input_price: 50_000,
    output_price: 200_000,
    active: true,
  });
  expect(aliases.find(({ id }) => id === 'small')).toMatchObject({ desired_build: TINY, primary_build: TINY });
  await done('registry', 'retire', TINY);
  expect(await done('registry')).toMatch(/small +nothing/u);
  await done('registry', 'activate', TINY);
  await done('registry', 'unalias', 'small');
  expect((await listed()).aliases.map(({ id }) => id)).not.toContain('small');
});
