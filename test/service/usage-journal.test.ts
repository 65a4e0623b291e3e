import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Home } from '../../src/config.js';
import { readUsage, UsageJournal, WRITE_EVERY_MS, type EndedRequest } from '../../src/service/usage-journal.js';
import {
  MAX_DAYS,
  MAX_MODELS_A_DAY,
  NOTHING,
  OTHER_MODELS,
  withRow,
  type UsageRow,
} from '../../src/service/usage-rows.js';
import { localDay, localDayBefore } from '../../src/util/local-day.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { ManualClock } from '../support/manual-clock.js';
import { RecordedLog } from '../support/recorded-log.js';
import { TemporaryHome } from '../support/temporary-home.js';

const HOUR_MS = 3_600_000;
/** 2026-06-21T15:04:05Z: where the manual clock begins. */
const TODAY = '2026-06-21';

let temporary: TemporaryHome;
let home: Home;
let clock: ManualClock;
let recorded: RecordedLog;
const timeZone = process.env['TZ'];
beforeEach(() => {
  process.env['TZ'] = 'UTC';
  temporary = new TemporaryHome();
  home = temporary.home;
  clock = new ManualClock();
  recorded = new RecordedLog();
});
afterEach(() => {
  if (timeZone === undefined) delete process.env['TZ'];
  else process.env['TZ'] = timeZone;
  temporary[Symbol.dispose]();
});

const open = () => UsageJournal.open({ path: home.usage, setAsidePath: home.usageSetAside, clock, log: recorded.log });
const answered: EndedRequest = {
  model: 'tiny',
  for: 'own',
  end: 'completed',
  usage: { promptTokens: 7, completionTokens: 3 },
};
const row = (more: Partial<UsageRow> = {}): UsageRow => ({
  day: TODAY,
  model: 'tiny',
  for: 'own',
  ...NOTHING,
  completed: 1,
  prompt_tokens: 7,
  completion_tokens: 3,
  ...more,
});

describe('the journal', () => {
  test('adds up requests by model, by whose they were, and by how they ended', () => {
    const journal = open();
    journal.count(answered);
    journal.count(answered);
    journal.count({ ...answered, for: 'others' });
    journal.count({ ...answered, for: 'unknown', end: 'cancelled' });
    journal.count({ model: 'big', for: 'own', end: 'failed' });
    expect(journal.rows).toEqual(
      [
        row({ model: 'big', completed: 0, failed: 1, prompt_tokens: 0, completion_tokens: 0 }),
        row({ for: 'others' }),
        row({ completed: 2, prompt_tokens: 14, completion_tokens: 6 }),
        row({ for: 'unknown', completed: 0, cancelled: 1 }),
      ].sort((a, b) => (`${a.model} ${a.for}` < `${b.model} ${b.for}` ? -1 : 1)),
    );
    journal.close();
  });

  test('knows what was answered since the process began: not what failed, nor what was cancelled before any text', () => {
    const before = open();
    before.count(answered);
    before.close();
    const journal = open();
    journal.count(answered);
    journal.count({ ...answered, end: 'cancelled' });
    journal.count({ ...answered, end: 'cancelled', usage: { promptTokens: 7, completionTokens: 0 } });
    journal.count({ model: 'tiny', for: 'own', end: 'failed' });
    expect(journal.served).toEqual({ requests: 2, tokens: 6 });
    journal.close();
  });

  test.each([
    ['UTC', TODAY, '2026-06-22'],
    ['Pacific/Kiritimati', '2026-06-22', '2026-06-23'],
    ['Etc/GMT+12', TODAY, '2026-06-22'],
  ])('counts for the calendar day of this machine, in %s', (zone, first, next) => {
    process.env['TZ'] = zone;
    const journal = open();
    journal.count(answered);
    clock.turn(24 * HOUR_MS);
    journal.count(answered);
    expect(journal.rows.map(({ day }) => day)).toEqual([first, next]);
    journal.close();
  });

  test('begins a new day at local midnight, to the second', () => {
    process.env['TZ'] = 'America/New_York'; // 11:04:05 there
    const journal = open();
    const untilMidnight = 12 * HOUR_MS + 55 * 60_000 + 55_000;
    clock.turn(untilMidnight - 1);
    journal.count(answered);
    clock.turn(1);
    journal.count(answered);
    expect(journal.rows.map(({ day }) => day)).toEqual([TODAY, '2026-06-22']);
    journal.close();
  });

  test('goes on in the same row after a restart', () => {
    const first = open();
    first.count(answered);
    first.close();
    const second = open();
    second.count(answered);
    expect(second.rows).toEqual([row({ completed: 2, prompt_tokens: 14, completion_tokens: 6 })]);
    second.close();
    expect(readUsage(home.usage)).toEqual(second.rows);
  });
});

describe('the file', () => {
  test('is written ten seconds after the first count that is not in it, once for all of them, and at close', () => {
    const journal = open();
    journal.count(answered);
    clock.turn(WRITE_EVERY_MS - 1);
    journal.count(answered);
    expect(existsSync(home.usage)).toBe(false);
    clock.turn(1);
    expect(readUsage(home.usage)).toEqual(journal.rows);
    expect(clock.pending).toBe(0);
    journal.count(answered);
    journal.close();
    expect(readUsage(home.usage)).toMatchObject([{ completed: 3 }]);
    expect(clock.pending).toBe(0);
  });

  test('is not there as long as nothing was counted, and then only its owner may read it', () => {
    open().close();
    expect(readdirSync(home.folder)).toEqual([]);
    const journal = open();
    journal.count(answered);
    journal.close();
    expect(statSync(home.usage).mode & 0o777).toBe(0o600);
  });

  test.each([
    ['is cut short', '{"schema_version":1,"rows":[{"day":"2026-06-'],
    ['is empty', ''],
    ['has a negative count', JSON.stringify({ schema_version: 1, rows: [row({ completed: -1 })] })],
    ['has half a token', JSON.stringify({ schema_version: 1, rows: [row({ prompt_tokens: 0.5 })] })],
    ['has a day that does not exist', JSON.stringify({ schema_version: 1, rows: [row({ day: '2026-02-30' })] })],
    ['is of a newer version', JSON.stringify({ schema_version: 2, rows: [] })],
  ])('that %s is set aside as it was, with a line in the log, and a new one begins', (_what, text) => {
    writeFileSync(home.usage, text);
    expect(() => readUsage(home.usage)).toThrow(/damaged or was written by a newer version/u);
    const journal = open();
    expect(readFileSync(home.usageSetAside, 'utf8')).toBe(text);
    expect(existsSync(home.usage)).toBe(false);
    expect(recorded.text).toMatch(/"replaced":false.*the usage journal was damaged: it was set aside/u);
    journal.count(answered);
    journal.close();
    expect(readUsage(home.usage)).toEqual([row()]);
    expect(readFileSync(home.usageSetAside, 'utf8')).toBe(text);
  });

  test('that is damaged and cannot be set aside is not written over: the owner is asked', () => {
    writeFileSync(home.usage, 'damaged');
    mkdirSync(join(home.usageSetAside, 'in-the-way'), { recursive: true });
    expect(open).toThrow(/cannot be renamed.*Move both away/u);
    expect(readFileSync(home.usage, 'utf8')).toBe('damaged');
  });

  test('that cannot be written keeps no request from being counted; it is tried again, and told once', () => {
    const journal = open();
    mkdirSync(join(home.usage, 'in-the-way'), { recursive: true });
    journal.count(answered);
    clock.turn(3 * WRITE_EVERY_MS);
    expect(recorded.text.match(/could not be written/gu)).toHaveLength(1);
    journal.count(answered);
    rmSync(home.usage, { recursive: true });
    clock.turn(WRITE_EVERY_MS);
    expect(readUsage(home.usage)).toMatchObject([{ completed: 2 }]);
    expect(readdirSync(home.folder)).toEqual(['usage.json']);
  });

  test('is whole whenever the process is killed; what a kill inside a write leaves is removed by the next start', async () => {
    const module = pathToFileURL(join(PACKAGE_ROOT, 'dist/service/usage-journal.js')).href;
    const { usage: path, usageSetAside: setAsidePath } = home;
    const program = `
      const { UsageJournal } = await import(${JSON.stringify(module)});
      const clock = { now: Date.now, after: () => ({ [Symbol.dispose]: () => undefined }) };
      const log = { warn: (facts, text) => console.log('warned', text) };
      const journal = UsageJournal.open({ ...JSON.parse(process.argv[1]), clock, log });
      for (;;) {
        journal.count({ model: 'tiny', for: 'own', end: 'completed' });
        journal.flush();
        process.stdout.write('.');
        await new Promise(setImmediate);
      }`;
    let kept = 0;
    for (let round = 0; round < 5; round++) {
      const order = JSON.stringify({ path, setAsidePath });
      const child = spawn(process.execPath, ['--input-type=module', '-e', program, order], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let said = '';
      child.stdout.on('data', (data: Buffer) => {
        said += data.toString('utf8');
        if (said.length > round * 5) child.kill('SIGKILL');
      });
      await once(child, 'close');
      expect(said).toMatch(/^\.+$/u); // nothing was damaged
      const [only] = readUsage(path);
      const counted = only?.completed ?? 0;
      expect(counted).toBeGreaterThanOrEqual(kept + said.length);
      kept = counted;
    }
    writeFileSync(`${path}.0123456789ab.tmp`, 'left by a kill');
    open().close();
    expect(readdirSync(home.folder)).toEqual(['usage.json']);
  });
});

describe('the bounds', () => {
  test('keep the newest days that had a request', () => {
    let rows: UsageRow[] = [];
    for (let age = MAX_DAYS + 5; age > 0; age--) rows = withRow(rows, row({ day: localDayBefore(clock.now(), age) }));
    expect(rows).toHaveLength(MAX_DAYS);
    expect(rows[0]?.day).toBe(localDayBefore(clock.now(), MAX_DAYS));
    expect(rows.at(-1)?.day).toBe('2026-06-20');
  });

  test('tell so many models of a day apart, and count the rest together: no request is lost', () => {
    let rows: UsageRow[] = [];
    for (let number = 0; number < MAX_MODELS_A_DAY + 10; number++) rows = withRow(rows, row({ model: `m${number}` }));
    rows = withRow(rows, row({ model: 'm0' }));
    rows = withRow(rows, row({ day: '2026-06-22', model: 'new' }));
    expect(rows).toHaveLength(MAX_MODELS_A_DAY + 2);
    expect(rows.find(({ model }) => model === OTHER_MODELS)).toMatchObject({ completed: 10 });
    expect(rows.find(({ model }) => model === 'm0')).toMatchObject({ completed: 2 });
    expect(rows.at(-1)).toMatchObject({ model: 'new', completed: 1 });
  });
});

test('days are counted in the calendar, over the change of the clocks too', () => {
  process.env['TZ'] = 'Europe/Berlin';
  const justAfterMidnight = Date.parse('2026-03-29T22:30:00Z'); // 00:30 on the 30th; the 29th had 23 hours
  expect(localDay(justAfterMidnight)).toBe('2026-03-30');
  expect([0, 1, 2, 30].map((days) => localDayBefore(justAfterMidnight, days))).toEqual([
    '2026-03-30',
    '2026-03-29',
    '2026-03-28',
    '2026-02-28',
  ]);
});
