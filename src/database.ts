import { chmodSync } from 'node:fs';
import LibSql from 'libsql';
import { DarkbloomError, systemErrorCode } from './errors.js';

export type SqlValue = string | number | bigint | null;

/** One step from a schema version to the next. Steps are only ever added at the end of the list. */
export interface Migration {
  name: string;
  sql: string;
}

const BUSY_TIMEOUT_MS = 5_000;
/** Prepared statements that are kept; the program has fewer. */
const MAX_STATEMENTS = 500;
const DAMAGED: ReadonlySet<string> = new Set(['SQLITE_NOTADB', 'SQLITE_CORRUPT']);

/**
 * One SQLite file: WAL, every commit synced to the disk, foreign keys enforced. Integers come back as BigInt:
 * money and tokens are exact at any size.
 */
export class Database {
  readonly #db: LibSql.Database;
  readonly #statements = new Map<string, LibSql.Statement>();

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

  /** All or nothing. The database takes its write lock at once, so what `work` reads cannot change under it. */
  transaction<T>(work: () => T): T {
    return this.#db.transaction(work).immediate();
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

  /** Preparing takes three times as long as looking up a row. */
  #prepared(sql: string): LibSql.Statement {
    const kept = this.#statements.get(sql);
    if (kept !== undefined) return kept;
    const statement = this.#db.prepare(sql);
    if (this.#statements.size < MAX_STATEMENTS) this.#statements.set(sql, statement);
    return statement;
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }
}

function damaged(path: string, cause: unknown): DarkbloomError {
  return new DarkbloomError(
    'config_invalid',
    `${path} is damaged or no database at all. Put a backup in its place, or move it away to begin with empty books.`,
    { cause },
  );
}
