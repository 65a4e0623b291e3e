import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import LibSql from 'libsql';
import { expect } from 'vitest';
import { z } from 'zod';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Database } from '../../src/database.js';
import { readDiscovery } from '../../src/service/discovery.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { sayModel } from '../support/made-models.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

/**
 * A home as earlier code of this program left it: settings, tokens and database by commit 988c27b, the record of an
 * adopted model by commit 4e02e02. The database is there as the SQL of its dump; all secrets are made up, with their
 * hashes in the dump. `@TALKER@` stands for the adopted file.
 */
const FIXTURE = join(PACKAGE_ROOT, 'test/fixtures/previous-home');
const KEPT = ['owner-token', 'owner-key', 'self-link-token', 'link-token'];
/** What the dump's ledger says. */
const ANNAS_BALANCE = 4_999_900;

const left = (name: string) => readFileSync(join(FIXTURE, name), 'utf8');
const anna = z.object({ login_token: z.string(), api_key: z.string() }).parse(JSON.parse(left('secrets-of-anna.json')));

class PreviousHome extends TemporaryHome {
  constructor() {
    super();
    const { folder, config, database } = this.home;
    const talker = join(folder, 'of-lm-studio/talker.gguf');
    mkdirSync(join(folder, 'of-lm-studio'));
    mkdirSync(join(folder, 'models/adopted'), { recursive: true });
    copyFileSync(sayModel(), talker);
    const record = left('adopted-talker.json').replace('@TALKER@', talker);
    const { files } = z.object({ files: z.tuple([z.object({ mtime_ms: z.number() })]) }).parse(JSON.parse(record));
    utimesSync(talker, files[0].mtime_ms / 1_000, files[0].mtime_ms / 1_000);
    writeFileSync(join(folder, 'models/adopted/local-talker-f16.json'), record);
    writeFileSync(config, left('config.toml').replace('@TALKER@', talker));
    for (const name of KEPT) writeFileSync(join(folder, name), left(name), { mode: 0o600 });
    const db = new LibSql(database);
    db.exec('PRAGMA journal_mode=WAL');
    db.exec(left('coordinator.sql'));
    db.close();
  }

  /** Reads the books through a connection of its own. */
  books<T>(read: (database: Database) => T): T {
    const database = new Database(this.home.database, MIGRATIONS);
    try {
      return read(database);
    } finally {
      database.close();
    }
  }
}

/** Every balance can be recomputed from the rows. */
function expectLedgerAddsUp(home: PreviousHome): void {
  const rows = home.books((database) => database.all('SELECT * FROM ledger ORDER BY seq'));
  expect(rows.length).toBeGreaterThanOrEqual(3);
  const balances = new Map<unknown, bigint>();
  for (const { account_id: account, amount_micro_usd: amount, balance_after: after } of rows) {
    balances.set(account, (balances.get(account) ?? 0n) + BigInt(String(amount)));
    expect(balances.get(account)).toBe(after);
  }
}

costly(
  'a home of an earlier version is served by this one: keys, money, models and tokens are what they were',
  async () => {
    using previous = new PreviousHome();
    const { folder, discovery } = previous.home;
    await using daemon = new RunningCommand(['start', '--foreground'], folder);
    await daemon.says(/link online/u);
    await daemon.says(/Ready/u);
    const { base_url: baseUrl = '', api_key: apiKey } = readDiscovery(discovery) ?? {};
    expect(apiKey).toBe(left('owner-key').trim());
    const call = async (path: string, token: string, body?: object) => {
      const response = await fetch(`${baseUrl}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, json: await response.json() };
    };
    const chat = (model: string) => ({ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 4 });

    expect(await call('/payments/balance', anna.api_key)).toMatchObject({
      status: 200,
      json: { balance_micro_usd: ANNAS_BALANCE },
    });
    expect(await call('/keys', anna.login_token, { name: 'phone' })).toMatchObject({ status: 200 });
    const [linkToken = ''] = left('link-token').split('\n');
    expect(await call('/models', linkToken)).toMatchObject({ status: 200 });
    expect(await call('/admin/accounts', left('owner-token').trim())).toMatchObject({ status: 200 });

    for (const model of ['darkbloom-tiny-chat', 'talker', 'mine']) {
      expect(await call('/chat/completions', left('owner-key').trim(), chat(model))).toMatchObject({ status: 200 });
    }
    expect(await call('/chat/completions', anna.api_key, chat('darkbloom-tiny-chat'))).toMatchObject({ status: 200 });
    expect(await daemon.stop()).toBe(0);

    expectLedgerAddsUp(previous);
    const paid = previous.books((database) =>
      database.get('SELECT sum(cost_micro_usd) AS cost, count(*) AS count FROM usage'),
    );
    expect(paid?.['count']).toBe(7n); // three of the dump, four of today
    expect(Number(paid?.['cost'])).toBeGreaterThan(5_000_000 - ANNAS_BALANCE);
    for (const name of KEPT) expect(readFileSync(join(folder, name), 'utf8')).toBe(left(name));
    const version = previous.books((database) => database.get('SELECT max(version) AS version FROM migrations'));
    expect(version?.['version']).toBe(BigInt(MIGRATIONS.length));
  },
);

costly('a database of a newer version is refused with both versions, and nothing is changed', async () => {
  using previous = new PreviousHome();
  const { folder, database } = previous.home;
  const newer = MIGRATIONS.length + 1;
  const db = new LibSql(database);
  db.exec(`INSERT INTO migrations (version, name, applied_at) VALUES (${newer}, 'of the future', 0)`);
  db.close();
  const contents = () => createHash('sha256').update(readFileSync(database)).digest('hex');
  const before = contents();
  const ended = await runCommand(['start', '--foreground'], folder);
  expect(ended.code).toBe(65);
  expect(ended.stderr).toContain(`(schema ${newer}, this one knows ${MIGRATIONS.length})`);
  expect(ended.stderr).toContain('Update the program; the file was not changed.');
  expect(contents()).toBe(before);
});
