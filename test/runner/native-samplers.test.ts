import { describe, expect, test } from 'vitest';
import type { NativeSampler, SamplerConfig } from '../../src/runner/native-context.js';
import { NativeSamplers } from '../../src/runner/native-samplers.js';

class Recorder implements NativeSampler {
  readonly configs: SamplerConfig[] = [];
  disposed = false;
  applyConfig(config: SamplerConfig): void {
    this.configs.push(config);
  }
  dispose(): void {
    this.disposed = true;
  }
}

function samplers() {
  const made: Recorder[] = [];
  const pool = new NativeSamplers(() => {
    const sampler = new Recorder();
    made.push(sampler);
    return sampler;
  });
  return { pool, made };
}

describe('native samplers', () => {
  test('as many are made as are in use at once, however many requests there are', () => {
    const { pool, made } = samplers();
    for (let round = 0; round < 100; round++) {
      const taken = Array.from({ length: 8 }, () => pool.take());
      expect(new Set(taken).size).toBe(8);
      for (const sampler of taken) pool.giveBack(sampler);
    }
    expect(made).toHaveLength(8);
  });

  test('random numbers begin anew, whatever seed there was', () => {
    const { pool, made } = samplers();
    pool.giveBack(pool.take());
    const seeds = made[0]?.configs.map(({ seed }) => seed);
    expect(new Set(seeds).size).toBeGreaterThan(1); // the runtime begins anew only where a seed differs from the last one
  });

  test('end with the model', () => {
    const { pool, made } = samplers();
    const [inUse, idle] = [pool.take(), pool.take()];
    pool.giveBack(idle);
    pool.dispose();
    expect(made.map(({ disposed }) => disposed)).toEqual([false, true]);
    pool.giveBack(inUse);
    expect(made.map(({ disposed }) => disposed)).toEqual([true, true]);
  });
});
