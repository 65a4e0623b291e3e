import { describe, expect, test } from 'vitest';
import { FALLBACK_PRICE } from '../../src/coordinator/billing.js';
import { Registry, type Alias, type Build } from '../../src/coordinator/registry.js';
import { START_MS, temporaryDatabase } from './temporary-database.js';

function temporaryRegistry() {
  const house = temporaryDatabase();
  return { ...house, registry: new Registry(house.database) };
}

function build(id: string, changes: Partial<Build> = {}): Build {
  return {
    id,
    displayName: 'Tiny',
    family: 'llama',
    architecture: 'llama',
    quantization: 'F16',
    sizeBytes: 5_000_000_000,
    contextLength: 2048,
    maxOutputLength: 1024,
    minRamGb: 0.5,
    weightHash: 'ab'.repeat(32),
    files: [{ path: 'tiny.gguf', sizeBytes: 5_000_000_000, sha256: 'cd'.repeat(32) }],
    source: 'hf:someone/tiny',
    capabilities: ['chat', 'tools'],
    version: 'v1',
    description: '',
    runtimeParameters: {},
    metadata: {},
    active: true,
    createdAt: START_MS,
    ...changes,
  };
}

function alias(id: string, changes: Partial<Alias> = {}): Alias {
  return { id, displayName: 'Tiny', desiredBuild: 'tiny-v2', retiredBuilds: [], ...changes };
}

describe('the registry', () => {
  test('gives back what was put, and changes it in place', () => {
    using house = temporaryRegistry();
    const { registry } = house;
    registry.putBuild(build('local/tiny'));
    registry.putAlias(alias('tiny', { desiredBuild: 'local/tiny', retiredBuilds: ['local/old'] }));
    expect(registry.build('local/tiny')).toEqual(build('local/tiny'));
    expect(registry.aliases()).toEqual([alias('tiny', { desiredBuild: 'local/tiny', retiredBuilds: ['local/old'] })]);

    const changed = { displayName: 'Tiny 2', weightHash: undefined, active: false };
    registry.putBuild(build('local/tiny', { ...changed, createdAt: START_MS + 1 }));
    registry.putAlias(alias('tiny', { desiredBuild: 'local/tiny', previousBuild: 'local/old' }));
    expect(registry.builds()).toEqual([build('local/tiny', changed)]);
    expect(registry.alias('tiny')).toEqual(alias('tiny', { desiredBuild: 'local/tiny', previousBuild: 'local/old' }));
    expect([registry.build('tiny'), registry.alias('local/tiny')]).toEqual([undefined, undefined]);
  });

  test('has one meaning for a name', () => {
    using house = temporaryRegistry();
    const { registry } = house;
    registry.putBuild(build('tiny-v2'));
    registry.putAlias(alias('tiny'));
    expect(() => registry.putAlias(alias('tiny-v2'))).toThrow(expect.objectContaining({ code: 'conflict' }));
    expect(() => registry.putBuild(build('tiny'))).toThrow(expect.objectContaining({ code: 'conflict' }));
  });

  test.each([
    { name: 'tiny', active: ['tiny-v2', 'tiny-v1'], found: ['tiny-v2', 'tiny-v1'] },
    { name: 'tiny', active: ['tiny-v1', 'tiny-v0'], found: ['tiny-v1'] },
    { name: 'tiny', active: ['tiny-v0'], found: [] },
    { name: 'tiny-v0', active: ['tiny-v0'], found: ['tiny-v0'] },
    { name: 'tiny-v0', active: [], found: undefined },
    { name: 'unknown', active: ['tiny-v0'], found: undefined },
  ])('resolves $name to $found when $active are active', ({ name, active, found }) => {
    using house = temporaryRegistry();
    const { registry } = house;
    for (const id of ['tiny-v0', 'tiny-v1', 'tiny-v2']) registry.putBuild(build(id, { active: active.includes(id) }));
    registry.putAlias(alias('tiny', { previousBuild: 'tiny-v1', retiredBuilds: ['tiny-v0'] }));
    const resolved = registry.resolve(name);
    expect(resolved?.builds.map(({ id }) => id)).toEqual(found);
    expect(resolved?.alias?.id).toBe(name === 'tiny' ? 'tiny' : undefined);
  });

  test('hides every build that an alias stands for', () => {
    using house = temporaryRegistry();
    const { registry } = house;
    registry.putAlias(alias('tiny', { previousBuild: 'tiny-v1', retiredBuilds: ['tiny-v0'] }));
    registry.putAlias(alias('big', { desiredBuild: 'big-v1' }));
    expect(registry.hiddenBuilds()).toEqual(new Set(['tiny-v2', 'tiny-v1', 'tiny-v0', 'big-v1']));
  });
});

describe('models that come with the program', () => {
  const shipped = (id: string, changes: Partial<Build> = {}) => ({
    build: build(id, changes),
    alias: alias(`${id}-alias`, { desiredBuild: id }),
  });
  const state = ({ registry }: { registry: Registry }) => [
    registry.builds().map(({ id, active }) => `${id} ${active ? 'active' : 'retired'}`),
    registry.aliases().map(({ id }) => id),
  ];

  test('follow each start: what is gone is retired, and its names go', () => {
    using house = temporaryRegistry();
    const { registry } = house;
    registry.seed([shipped('a'), shipped('b')]);
    registry.seed([shipped('b', { displayName: 'B' }), shipped('c')]);
    expect(state(house)).toEqual([
      ['a retired', 'b active', 'c active'],
      ['b-alias', 'c-alias'],
    ]);
    expect(registry.build('b')?.displayName).toBe('B');
  });

  test('do not undo what an administrator said', () => {
    using house = temporaryRegistry();
    const { registry } = house;
    registry.seed([shipped('a'), shipped('b')]);
    registry.setActive('a', false);
    registry.putBuild(build('mine'));
    registry.putAlias(alias('b-alias', { desiredBuild: 'mine' }));
    registry.seed([shipped('a'), shipped('b')]);
    expect(state(house)).toEqual([
      ['a retired', 'b active', 'mine active'],
      ['a-alias', 'b-alias'],
    ]);
    expect(registry.alias('b-alias')?.desiredBuild).toBe('mine');
    registry.seed([]);
    expect(state(house)).toEqual([
      ['a retired', 'b retired', 'mine active'],
      ['a-alias', 'b-alias'],
    ]);
  });

  test('do not take a name from what an administrator registered', () => {
    using house = temporaryRegistry();
    const { registry } = house;
    registry.putBuild(build('a-alias'));
    registry.putBuild(build('v1'));
    registry.putAlias(alias('b', { desiredBuild: 'v1' }));
    registry.seed([shipped('a'), shipped('b')]);
    expect(state(house)).toEqual([
      ['a active', 'a-alias active', 'v1 active'],
      ['b', 'b-alias'],
    ]);
    expect(registry.alias('b')?.desiredBuild).toBe('v1');
  });
});

describe('prices', () => {
  const PLATFORM = { input: 30_000n, output: 165_000n };
  const OWN = { input: 10_000n, output: 20_000n };

  test("a machine's own price comes before the platform's, and that before the fallback", () => {
    using house = temporaryRegistry();
    const { registry } = house;
    expect(registry.priceFor('tiny', 'acct_a')).toEqual(FALLBACK_PRICE);
    registry.putPlatformPrice('tiny', PLATFORM);
    expect(registry.priceFor('tiny', 'acct_a')).toEqual(PLATFORM);
    registry.putOwnPrice('acct_a', 'tiny', OWN);
    expect(registry.priceFor('tiny', 'acct_a')).toEqual(OWN);
    expect(registry.priceFor('tiny', 'acct_b')).toEqual(PLATFORM);
    expect(registry.platformPrice('tiny')).toEqual(PLATFORM);
    expect([registry.ownPrice('acct_a', 'tiny'), registry.ownPrice('acct_b', 'tiny')]).toEqual([OWN, undefined]);
    registry.putPlatformPrice('tiny', OWN);
    expect(registry.platformPrice('tiny')).toEqual(OWN);
  });

  test.each([
    { price: { input: 0n, output: 1n }, param: 'input_price' },
    { price: { input: 1n, output: -1n }, param: 'output_price' },
  ])('$param must be positive', ({ price, param }) => {
    using house = temporaryRegistry();
    const { registry } = house;
    expect(() => registry.putPlatformPrice('tiny', price)).toThrow(
      expect.objectContaining({ code: 'bad_request', param }),
    );
    expect(registry.platformPrice('tiny')).toBeUndefined();
  });
});
