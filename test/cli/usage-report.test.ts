import { describe, expect, test } from 'vitest';
import { grouped, totalOf, usageCsv, usageTable } from '../../src/cli/usage-report.js';
import { NOTHING, type UsageRow } from '../../src/service/usage-rows.js';

const row = (day: string, model: string, more: Partial<UsageRow> = {}): UsageRow => ({
  day,
  model,
  for: 'own',
  ...NOTHING,
  ...more,
});

const ROWS = [
  row('2026-06-20', 'big', { completed: 2, prompt_tokens: 1_200_345, completion_tokens: 20 }),
  row('2026-06-21', 'big', { completed: 1, cancelled: 1, failed: 1, prompt_tokens: 5, completion_tokens: 2 }),
  row('2026-06-21', 'tiny', { for: 'others', completed: 4, prompt_tokens: 40, completion_tokens: 8 }),
];

describe('grouped', () => {
  test('by day sums the models, and tells apart whose requests they were', () => {
    const day = grouped([...ROWS, row('2026-06-21', 'tiny', { completed: 1, prompt_tokens: 1 })], 'day');
    expect(day.map(({ day, for: who, requests, prompt_tokens }) => [day, who, requests, prompt_tokens])).toEqual([
      ['2026-06-20', 'own', 2, 1_200_345],
      ['2026-06-21', 'others', 4, 40],
      ['2026-06-21', 'own', 4, 6],
    ]);
    expect(day[0]).not.toHaveProperty('model');
  });

  test('by model sums the days', () => {
    const model = grouped(ROWS, 'model');
    expect(model).toMatchObject([
      { model: 'big', requests: 5, completed: 3, cancelled: 1, failed: 1, completion_tokens: 22 },
      { model: 'tiny', requests: 4 },
    ]);
    expect(model[0]).not.toHaveProperty('day');
  });

  test('sums to the same whatever the groups', () => {
    const total = totalOf(ROWS);
    expect(total).toMatchObject({ requests: 9, prompt_tokens: 1_200_390 });
    for (const by of ['day_and_model', 'day', 'model'] as const) expect(totalOf(grouped(ROWS, by))).toEqual(total);
  });
});

describe('CSV', () => {
  test('has a header row, lines that end with CR and LF, and bare numbers', () => {
    expect(usageCsv(grouped(ROWS, 'day_and_model'), 'day_and_model')).toBe(
      'day,model,for,requests,completed,cancelled,failed,prompt_tokens,completion_tokens\r\n' +
        '2026-06-20,big,own,2,2,0,0,1200345,20\r\n' +
        '2026-06-21,big,own,3,1,1,1,5,2\r\n' +
        '2026-06-21,tiny,others,4,4,0,0,40,8\r\n',
    );
  });

  test('has no column for what was summed up', () => {
    expect(usageCsv(grouped(ROWS, 'model'), 'model')).toMatch(/^model,for,requests,.*\r\nbig,own,5,/u);
    expect(usageCsv([], 'day')).toBe('day,for,requests,completed,cancelled,failed,prompt_tokens,completion_tokens\r\n');
  });

  test('quotes a name with a comma, a quote or a line break', () => {
    const names = ['a,b', 'say "hi"', 'two\nlines'];
    const csv = usageCsv(
      grouped(
        names.map((name) => row('2026-06-21', name)),
        'model',
      ),
      'model',
    );
    for (const name of ['"a,b"', '"say ""hi"""', '"two\nlines"']) expect(csv).toContain(`${name},own,`);
  });
});

describe('the table', () => {
  test('ends with a total for each and for all, and names unfinished requests', () => {
    expect(usageTable(grouped(ROWS, 'day_and_model'), 'day_and_model', 80)).toEqual([
      'day         model  for     requests  unfinished  tokens in  tokens out',
      '2026-06-20  big    you            2           0  1,200,345          20',
      '2026-06-21  big    you            3           2          5           2',
      '2026-06-21  tiny   others         4           0         40           8',
      'total              you            5           2  1,200,350          22',
      'total              others         4           0         40           8',
      'total              all            9           2  1,200,390          30',
    ]);
  });

  test('is shorter where there is nothing to tell apart', () => {
    expect(usageTable(grouped(ROWS.slice(0, 1), 'model'), 'model', 80)).toEqual([
      'model  for  requests  tokens in  tokens out',
      'big    you         2  1,200,345          20',
      'total              2  1,200,345          20',
    ]);
  });

  test('cuts a long name so that a line fits, and a name cannot steer the terminal', () => {
    const long = row('2026-06-21', `x\u001b[2J${'long-name-'.repeat(10)}`, {
      cancelled: 1,
      prompt_tokens: 123_456_789,
    });
    const lines = usageTable(grouped([long], 'day_and_model'), 'day_and_model', 80);
    expect(Math.max(...lines.map(({ length }) => length))).toBe(80);
    expect(lines[1]).toMatch(/^2026-06-21 {2}x \[2Jlong-name.*… {2}you {9}1 {11}1 {2}123,456,789 {11}0$/u);
  });
});
