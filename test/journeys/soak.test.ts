import { expect, test } from 'vitest';
import { soak, soakFaults } from '../../bench/soak-run.js';
import { madeModel } from '../support/made-models.js';

const SECONDS = 20;
const TEST_TIMEOUT_MS = 240_000;

test(
  '64 clients on 8 rows, a fifth of them leaving: nothing fails, no row stays busy, answers are those given alone',
  async () => {
    const model = madeModel('soak-q8', ['--endless', '--type', 'q8_0', '--vocab', '19600']);
    const report = await soak({ seconds: SECONDS, seed: 1, model, threads: 1, progress: () => undefined });
    expect(soakFaults(report)).toEqual([]);
    expect(report.aborted).toBeGreaterThan(0);
    expect(report.refused).toBeGreaterThan(0);
  },
  TEST_TIMEOUT_MS,
);
