import { describe, expect, test } from 'vitest';
import { planOfMac } from '../../src/cli/commands/models/plan.js';
import { planLines } from '../../src/cli/plan-view.js';
import { Settings } from '../../src/config.js';
import { readCatalog, type CatalogModel } from '../../src/models/catalog.js';
import { SAMPLE_MACS } from '../../src/models/macs.js';

const catalog = readCatalog();
const settings = Settings.parse({});

describe.each(SAMPLE_MACS)('the plan for %s', (mac) => {
  const plan = planOfMac(mac, catalog, settings);
  test.each([80, 60])('is no wider than %i columns', (width) => {
    const lines = planLines(plan, width);
    expect(lines.filter((line) => line.length > width)).toEqual([]);
    for (const { alias, quantization } of plan.lines) {
      expect(lines.filter((line) => line.startsWith(`${alias} `) && line.includes(` ${quantization} `))).toHaveLength(
        1,
      );
    }
  });

  test('shows every sum at 80 columns, and says at 60 where the parts are', () => {
    const sums = planLines(plan, 80).filter((line) => /= \d+\.\d \+ \d+\.\d \+ \d+\.\d \+ 0\.5 /u.test(line));
    expect(sums).toHaveLength(plan.lines.length);
    expect(planLines(plan, 60).join(' ')).toMatch(/A wider terminal, or --json, shows the parts of each sum\./u);
  });
});

test('a plan says what its words mean, as far as it uses them', () => {
  const small = planLines(planOfMac('M2 24GB', catalog, settings), 80).join(' ');
  expect(small).toMatch(/fits R × T: only so, .* missing: even for 1 request of 2048 tokens/u);
  const large = planLines(planOfMac('M2 Ultra 192GB', catalog, settings), 80).join(' ');
  expect(large).not.toMatch(/missing|R × T|~/u);
  const unknown = catalog.map(({ cache: _, ...model }): CatalogModel => model);
  const guessed = planLines(planOfMac('M2 Ultra 192GB', unknown, settings), 80).join(' ');
  expect(guessed).toMatch(/ ~\d+\.\d .*~: the catalogue does not know its cache, the sum is an estimate\./u);
});
