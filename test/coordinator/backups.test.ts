import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import LibSql from 'libsql';
import { beforeEach, afterEach, describe, expect, test } from 'vitest';
import { auditBooks } from '../../src/coordinator/audit.js';
import { backUpBooks, restoreBooks } from '../../src/coordinator/backups.js';
import { FALLBACK_PRICE } from '../../src/coordinator/billing.js';
import { Ledger } from '../../src/coordinator/ledger.js';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Database } from '../../src/database.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { runCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { HandClock } from './temporary-database.js';

let home: TemporaryHome;
let database: Database;
let ledger: Ledger;
let path: string;
const at = (name: string) => join(home.home.folder, name);
const clock = new HandClock();

beforeEach(() => {
  home = new TemporaryHome();
  path = home.home.database;
  database = new Database(path, MIGRATIONS);
  ledger = new Ledger(database, clock);
  ledger.credit('acct_a', 1_000n, 'test');
  serve('request-1');
});
afterEach(() => {
  database.close();
  home[Symbol.dispose]();
});

/** One paid request of 100. */
function serve(requestId: string): void {
  ledger.hold({ requestId, accountId: 'acct_a', amount: 220n });
  ledger.settle({
    requestId,
    accountId: 'acct_a',
    alias: 'tiny',
    build: 'local/tiny',
    providerId: 'machine',
    providerAccountId: 'acct_b',
    promptTokens: 1,
    completionTokens: 1,
    price: FALLBACK_PRICE,
    routeMode: 'none',
  });
}

describe('an audit', () => {
  test('sums what a running coordinator has written, with what is on hold', () => {
    ledger.hold({ requestId: 'running', accountId: 'acct_a', amount: 220n });
    expect(auditBooks(path)).toEqual({
      accounts: [
        { id: 'acct_a', balance: 680n, withdrawable: 0n },
        { id: 'acct_b', balance: 100n, withdrawable: 100n },
      ],
      ledgerRows: 5,
      requests: 1,
      openHolds: { count: 1, amount: 220n },
      discrepancies: [],
    });
  });

  test('changes nothing, not even the schema of an older version', () => {
    const old = at('old.db');
    new Database(old, MIGRATIONS.slice(0, 1)).close();
    expect(auditBooks(old).discrepancies).toEqual([]);
    const version = new LibSql(old).prepare('SELECT max(version) AS version FROM migrations').get();
    expect(version).toMatchObject({ version: 1 });
  });

  test.each<[string, string, object]>([
    [
      'a balance that is one too much',
      'UPDATE ledger SET balance_after = balance_after + 1 WHERE seq = 2',
      { kind: 'balance', about: 'acct_a', seq: 2, stored: 781n, recomputed: 780n },
    ],
    [
      'one that may be withdrawn',
      "UPDATE ledger SET withdrawable_after = 1 WHERE account_id = 'acct_a' AND seq = 2",
      { kind: 'balance', about: 'acct_a', seq: 2, stored: 1n, recomputed: 0n },
    ],
    [
      'a request that cost one less than was paid',
      'UPDATE usage SET cost_micro_usd = 99',
      { kind: 'charged', about: 'acct_a', stored: 100n, recomputed: 99n },
    ],
    [
      'a hold that nobody took',
      "INSERT INTO open_holds VALUES ('ghost', 'acct_b', NULL, 1)",
      { kind: 'charged', about: 'acct_b', stored: 0n, recomputed: 1n },
    ],
    [
      'a request that is gone',
      'DELETE FROM usage',
      { kind: 'orphan', about: 'request-1', stored: 100n, recomputed: 0n },
    ],
    [
      'a request that was paid out twice',
      `INSERT INTO ledger (account_id, kind, amount_micro_usd, balance_after, withdrawable_after, reference, created_at)
       VALUES ('acct_b', 'payout', 100, 200, 200, 'request-1', 0)`,
      { kind: 'paid_out', about: 'request-1', stored: 200n, recomputed: 100n },
    ],
    [
      'earnings that went to another account',
      "UPDATE ledger SET account_id = 'acct_thief' WHERE kind = 'payout'",
      { kind: 'recipient', about: 'request-1', stored: 100n, recomputed: 0n },
    ],
    [
      'a fee that went to a machine',
      "UPDATE ledger SET kind = 'platform_fee' WHERE kind = 'payout'",
      { kind: 'recipient', about: 'request-1', stored: 100n, recomputed: 0n },
    ],
  ])('finds %s', (_, sql, discrepancy) => {
    for (const table of ['ledger', 'usage']) {
      for (const what of ['update', 'delete']) database.run(`DROP TRIGGER ${table}_no_${what}`);
    }
    database.run(sql);
    expect(auditBooks(path).discrepancies).toContainEqual(discrepancy);
  });

  test('refuses what are no books', () => {
    writeFileSync(at('text.db'), 'not a database '.repeat(500));
    new LibSql(at('empty.db')).exec('CREATE TABLE t (a)');
    for (const [name, said] of [
      ['text.db', 'is damaged or no database at all'],
      ['empty.db', 'is no database of a coordinator'],
      ['none.db', 'There is no database'],
    ] as const) {
      expect(() => auditBooks(at(name))).toThrow(expect.objectContaining({ code: 'config_invalid' }));
      expect(() => auditBooks(at(name))).toThrow(said);
    }
    expect(existsSync(at('none.db'))).toBe(false);
  });
});

describe('a backup', () => {
  test('is of one moment, for its owner alone, while the coordinator goes on writing', () => {
    expect(backUpBooks(path, at('copy.db')).discrepancies).toEqual([]);
    serve('request-2');
    expect([auditBooks(at('copy.db')).requests, auditBooks(path).requests]).toEqual([1, 2]);
    expect(statSync(at('copy.db')).mode & 0o777).toBe(0o600);
    expect(['-wal', '.tmp'].filter((end) => existsSync(`${at('copy.db')}${end}`))).toEqual([]);
  });

  test('is not written over anything', () => {
    writeFileSync(at('copy.db'), 'precious');
    expect(() => backUpBooks(path, at('copy.db'))).toThrow('no backup is written over');
    expect(readFileSync(at('copy.db'), 'utf8')).toBe('precious');
  });

  test('of wrong books is not made', () => {
    database.run('DROP TRIGGER ledger_no_update');
    database.run('UPDATE ledger SET balance_after = balance_after + 1');
    expect(() => backUpBooks(path, at('copy.db'))).toThrow('The books are wrong (balance of acct_a)');
    expect(existsSync(at('copy.db'))).toBe(false);
  });

  test('into a folder that is not there says so', () => {
    expect(() => backUpBooks(path, at('nowhere/copy.db'))).toThrow('cannot be written');
  });

  test('of an older version is brought up to date when it is opened', () => {
    const old = at('old.db');
    const before = new LibSql(old);
    before.exec(readFileSync(join(PACKAGE_ROOT, 'test/fixtures/previous-home/coordinator.sql'), 'utf8'));
    before.close();
    const { accounts } = backUpBooks(old, at('copy.db'));
    new Database(at('copy.db'), MIGRATIONS).close();
    const after = auditBooks(at('copy.db'));
    expect([after.accounts, after.discrepancies]).toEqual([accounts, []]);
    expect(accounts.length).toBeGreaterThan(0);
  });
});

describe('a restore', () => {
  test('is refused while a coordinator has the books open, and changes nothing', async () => {
    backUpBooks(path, at('copy.db'));
    serve('request-2');
    const refused = await runCommand(['coordinator', 'restore', at('copy.db')], home.home.folder);
    expect([refused.code, refused.stderr]).toEqual([65, expect.stringContaining('Stop the coordinator of this home')]);
    expect(auditBooks(path).requests).toBe(2);
    expect(existsSync(home.home.databaseSetAside)).toBe(false);
  });

  test('puts the backup in its place, keeps what was there with its journal, and both audit as exact', async () => {
    backUpBooks(path, at('copy.db'));
    const books = at('books.db'); // as a process that was killed leaves them: with a journal
    for (const end of ['', '-wal', '-shm']) writeFileSync(`${books}${end}`, readFileSync(`${path}${end}`));
    const kept = at('kept.db');
    expect(restoreBooks(at('copy.db'), books, kept).requests).toBe(1);
    expect([auditBooks(books).requests, auditBooks(kept).requests]).toEqual([1, 1]);
    expect(() => restoreBooks(at('copy.db'), books, kept)).toThrow('Move it away first');

    const audited = await runCommand(['coordinator', 'audit', books, '--json'], home.home.folder);
    expect(audited.code).toBe(0);
    expect(JSON.parse(audited.stdout)).toMatchObject({ file: books, exact: true, requests: 1, total_usd: '0.001000' });
  });

  test('of a file that is wrong, or none, leaves everything as it is', () => {
    writeFileSync(at('text.db'), 'not a database '.repeat(500));
    const books = at('books.db');
    for (const end of ['', '-wal', '-shm']) writeFileSync(`${books}${end}`, readFileSync(`${path}${end}`));
    expect(() => restoreBooks(at('text.db'), books, at('kept.db'))).toThrow('no database at all');
    expect(existsSync(at('kept.db'))).toBe(false);
    expect(auditBooks(books).requests).toBe(1);
  });
});

test('wrong books end `coordinator audit` with 65', async () => {
  database.run('DROP TRIGGER ledger_no_update');
  database.run('UPDATE ledger SET balance_after = balance_after + 1 WHERE seq = 1');
  const { code, stdout } = await runCommand(['coordinator', 'audit'], home.home.folder);
  expect(code).toBe(65);
  expect(stdout).toContain('acct_a, row 1: $0.001001 in the books, $0.001000 from the rows');
});
