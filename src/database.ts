import { chmodSync, existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import LibSql from 'libsql';
import { DarkbloomError, systemErrorCode } from './errors.js';

export type SqlValue = string | number | bigint | null;

/** One step from a schema version to the next. Steps are only ever added at the end of the list. */
export interface Migration {
  name: string;
  sql: string;
}

const BUSY_TIMEOUT_MS = 5_000;
/** Statements kept ready to run again. The program has fewer; texts made at run time must not add up. */
const MAX_STATEMENTS = 200;
const DAMAGED: ReadonlySet<string> = new Set(['SQLITE_NOTADB', 'SQLITE_CORRUPT']);

/** One of the works that share a commit. */
interface Waiting {
  /** Does the work, and returns what is to be told once it is on the disk. */
  run: () => () => void;
  /** The commit failed: nothing of it happened. */
  fail: (error: unknown) => void;
}

/**
 * One SQLite file: WAL, every commit synced to the disk, foreign keys enforced. Integers come back as BigInt:
 * money and tokens are exact at any size.
 */
export class Database {
  readonly #db: LibSql.Database;
  readonly #statements = new Map<string, LibSql.Statement>();
  #waiting: Waiting[] = [];

  /** Opens or creates the file (0600) and brings it to the newest schema, each step in its own transaction.
   *  @throws DarkbloomError `config_invalid` if the file is damaged or of a newer version of the program. */
  constructor(path: string, migrations: readonly Migration[]) {
    this.#db = new LibSql(path);
    this.#db.defaultSafeIntegers(true);
    if (path !== ':memory:') chmodSync(path, 0o600);
    try {
      this.#db.exec(
        `PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=${BUSY_TIMEOUT_MS};`,
      );
      this.#migrate(path, migrations);
    } catch (error) {
      this.#db.close();
      throw DAMAGED.has(systemErrorCode(error) ?? '') ? damaged(path, error) : error;
    }
  }

  #migrate(path: string, migrations: readonly Migration[]): void {
    this.#db.exec(
      'CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL)',
    );
    const applied = Number(this.get('SELECT coalesce(max(version), 0) AS version FROM migrations')?.['version'] ?? 0);
    if (applied > migrations.length) {
      throw new DarkbloomError(
        'config_invalid',
        `${path} was written by a newer version (schema ${applied}, this one knows ${migrations.length}). Update the program; the file was not changed.`,
      );
    }
    for (const [index, { name, sql }] of migrations.entries()) {
      if (index < applied) continue;
      this.transaction(() => {
        this.#db.exec(sql);
        this.run('INSERT INTO migrations (version, name, applied_at) VALUES (?, ?, ?)', index + 1, name, Date.now());
      });
    }
  }

  /** All or nothing. The database takes its write lock at once, so what `work` reads cannot change under it. Inside
   *  another transaction it is a part of that one, undone alone when it throws. */
  transaction<T>(work: () => T): T {
    const isPart = this.#db.inTransaction;
    this.#db.exec(isPart ? 'SAVEPOINT part' : 'BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#db.exec(isPart ? 'RELEASE part' : 'COMMIT');
      return result;
    } catch (error) {
      // a full disk may have undone all of it already
      if (this.#db.inTransaction) this.#db.exec(isPart ? 'ROLLBACK TO part; RELEASE part' : 'ROLLBACK');
      throw error;
    }
  }

  /** Like `transaction`, but in one commit with all that comes in the same turn of the event loop: a commit waits for the
   *  disk, and many requests at once then wait for one. Resolves when the work is on the disk. */
  together<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#commitWaiting());
      const fail: (error: unknown) => void = reject;
      const run = () => {
        try {
          const result = this.transaction(work);
          return () => resolve(result);
        } catch (error) {
          if (!this.#db.inTransaction) throw error; // what came before it in this commit is undone too
          return () => fail(error);
        }
      };
      this.#waiting.push({ run, fail });
    });
  }

  #commitWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    if (waiting.length === 0) return;
    try {
      const told = this.transaction(() => waiting.map(({ run }) => run()));
      for (const tell of told) tell();
    } catch (error) {
      for (const { fail } of waiting) fail(error);
    }
  }

  /** The number of rows changed. */
  run(sql: string, ...values: SqlValue[]): number {
    return this.#prepared(sql).run(...values).changes;
  }

  get(sql: string, ...values: SqlValue[]): Record<string, unknown> | undefined {
    return this.#prepared(sql).get(...values) as Record<string, unknown> | undefined;
  }

  all(sql: string, ...values: SqlValue[]): Record<string, unknown>[] {
    return this.#prepared(sql).all(...values) as Record<string, unknown>[];
  }

  #prepared(sql: string): LibSql.Statement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    if (this.#statements.size >= MAX_STATEMENTS) this.#statements.clear();
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  /** What waits for a common commit is committed first. */
  close(): void {
    this.#commitWaiting();
    this.#statements.clear();
    this.#db.close();
  }
}

/** Lets `read` look at a database file as it is, beside a program that may be writing to it: nothing is changed, not even
 *  its schema, and all that is read is of one moment.
 *  @throws DarkbloomError `config_invalid` when there is none, or it is damaged. */
export function readDatabase<T>(path: string, read: (reader: DatabaseReader) => T): T {
  if (!existsSync(path))
    throw new DarkbloomError(
      'config_invalid',
      `There is no database ${path}: a coordinator makes it at its first start.`,
    );
  const db = openUnchanged(path);
  try {
    db.exec('BEGIN');
    return read({
      version: versionOf(db),
      all: (sql, ...values) => db.prepare(sql).all(...values) as Record<string, unknown>[],
      each: (sql, ...values) => db.prepare(sql).iterate(...values) as IterableIterator<Record<string, unknown>>,
    });
  } catch (error) {
    throw DAMAGED.has(systemErrorCode(error) ?? '') ? damaged(path, error) : error;
  } finally {
    if (db.inTransaction) db.exec('ROLLBACK'); // the library keeps a closed file open while a statement is in memory
    db.close();
  }
}

/** One moment of a database file. */
export interface DatabaseReader {
  /** Of its schema; 0: it is no database of this program. */
  version: number;
  all: (sql: string, ...values: SqlValue[]) => Record<string, unknown>[];
  /** Like `all`, row by row: for more than memory should hold. */
  each: (sql: string, ...values: SqlValue[]) => Iterable<Record<string, unknown>>;
}

/** Writes a copy of one moment of the database to `copy`, which must not exist, also while another process writes. The
 *  copy has no journal beside it. */
export function copyDatabase(path: string, copy: string): void {
  const db = openUnchanged(path);
  try {
    db.prepare('VACUUM INTO ?').run(copy);
    chmodSync(copy, 0o600);
  } catch (error) {
    throw DAMAGED.has(systemErrorCode(error) ?? '') ? damaged(path, error) : error;
  } finally {
    db.close();
  }
}

/** Whether any program, this one included, has the database open. When none has, its journal is worked into the file. */
export function isDatabaseOpen(path: string): boolean {
  const db = new LibSql(path);
  try {
    db.exec('PRAGMA busy_timeout=0; PRAGMA journal_mode=DELETE');
    return false;
  } catch (error) {
    if (DAMAGED.has(systemErrorCode(error) ?? '')) return false; // no program could have it open
    if (systemErrorCode(error) === 'SQLITE_BUSY') return true;
    throw error;
  } finally {
    db.close();
  }
}

function openUnchanged(path: string): LibSql.Database {
  const db = new LibSql(`${pathToFileURL(path).href}?mode=ro`);
  db.defaultSafeIntegers(true);
  db.exec(`PRAGMA busy_timeout=${BUSY_TIMEOUT_MS}`);
  return db;
}

function versionOf(db: LibSql.Database): number {
  const table = db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").get();
  if (table === undefined) return 0;
  const row = db.prepare('SELECT coalesce(max(version), 0) AS version FROM migrations').get() as { version: bigint };
  return Number(row.version);
}

function damaged(path: string, cause: unknown): DarkbloomError {
  return new DarkbloomError(
    'config_invalid',
    `${path} is damaged or no database at all. Put a backup in its place, or move it away to begin with empty books.`,
    { cause },
  );
}
