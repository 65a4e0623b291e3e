import { expect, test } from 'vitest';
import { keptModels, refuseTooManyKept } from '../../src/engine/kept-models.js';
import { memoryBudget, type MemoryBudget } from '../../src/engine/memory-budget.js';
import { RESERVE_BYTES } from '../../src/inference/footprint.js';

const GIB = 1024 ** 3;
const mac = { totalBytes: 16 * GIB, engineLimitBytes: 10 * GIB };

test('without a setting models may take what the machine lets its GPU have, less a reserve', () => {
  expect(memoryBudget(mac, undefined)).toEqual({
    limitBytes: 10 * GIB - RESERVE_BYTES,
    from: 'machine',
    tryBytes: 14 * GIB, // for the owner's own request, an eighth of all stays with the system
  });
});

test('a setting counts as it is, for the owner too, also above the estimate', () => {
  expect(memoryBudget(mac, 4.5)).toEqual({ limitBytes: 4.5 * GIB, from: 'setting', tryBytes: 4.5 * GIB });
  expect(memoryBudget(mac, 16).limitBytes).toBe(16 * GIB);
});

test('a setting of more than there is names the key and the most', () => {
  expect(() => memoryBudget(mac, 17)).toThrow(
    expect.objectContaining({
      code: 'config_invalid',
      param: 'engine.memory_limit_gb',
      message: 'engine.memory_limit_gb: 17 GB is more than the 16 GB of this machine. Set at most 16, or unset it.',
    }) as Error,
  );
});

const models = [
  { id: 'local/a-q4', alias: 'a' },
  { id: 'local/b-q4', alias: 'b' },
];

test('models to keep are named by alias or build id, each once', () => {
  expect([...keptModels(models, ['a', 'local/b-q4', 'local/a-q4'])]).toEqual(['local/a-q4', 'local/b-q4']);
});

test('a model to keep that is not there is told with those that are', () => {
  expect(() => keptModels(models, ['c'])).toThrow(
    "models.keep_loaded: this machine has no model named 'c'. It has: a, b.",
  );
});

const budget: MemoryBudget = { limitBytes: 10 * GIB, from: 'setting', tryBytes: 10 * GIB };
const sized = (alias: string, gib: number) => ({ alias, bytes: gib * GIB });

test('models to keep that fit together are taken', () => {
  expect(() => refuseTooManyKept([sized('a', 4), sized('b', 6)], budget, 2)).not.toThrow();
});

test('models to keep that do not fit together are refused with the sums', () => {
  expect(() => refuseTooManyKept([sized('a', 4), sized('b', 6.5)], budget, Infinity)).toThrow(
    expect.objectContaining({
      code: 'config_invalid',
      message:
        'models.keep_loaded: these models do not fit together: a 4.0 GiB + b 6.5 GiB = 10.5 GiB, and all models may ' +
        'take 10.0 GiB (the limit is engine.memory_limit_gb). Keep fewer, or lower engine.slots or engine.context_tokens.',
    }) as Error,
  );
});

test('more models to keep than may be loaded are refused', () => {
  expect(() => refuseTooManyKept([sized('a', 1), sized('b', 1)], budget, 1)).toThrow(
    'models.keep_loaded: 2 models are to be kept, but engine.max_loaded_models is 1.',
  );
});
