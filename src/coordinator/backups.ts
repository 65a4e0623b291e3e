import { randomBytes } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { copyDatabase, isDatabaseOpen, readDatabase } from '../database.js';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { syncPath } from '../util/files.js';
import { auditBooks, refuseStrange, type Audit } from './audit.js';

/** SQLite's files beside a database. They belong to it: without them its last commits are lost. */
const JOURNALS = ['-wal', '-shm'];

/** Writes one moment of the books to `target`, also while a coordinator writes to them. The copy is audited before it gets
 *  its name.
 *  @throws DarkbloomError `config_invalid` when there are no books, their copy is wrong, or `target` exists or cannot be
 *  written. */
export function backUpBooks(database: string, target: string): Audit {
  if (existsSync(target)) {
    throw new DarkbloomError('config_invalid', `${target} exists. Name another file: no backup is written over.`);
  }
  return copiedBooks(database, target);
}

/** Puts a backup in the place of the books. What was there is kept as `keptAs`.
 *  @throws DarkbloomError `already_running` while a coordinator has the books open; `config_invalid` when the backup is none,
 *  is wrong, or something is kept already. */
export function restoreBooks(backup: string, database: string, keptAs: string): Audit {
  if (existsSync(keptAs)) {
    throw new DarkbloomError(
      'config_invalid',
      `${keptAs} still holds the books from before an earlier restore. Move it away first.`,
    );
  }
  const restored = `${database}.restored`;
  rmSync(restored, { force: true }); // of a restore that was killed
  const audit = copiedBooks(backup, restored);
  if (existsSync(database) && isDatabaseOpen(database)) {
    rmSync(restored);
    throw new DarkbloomError(
      'already_running',
      `A program has ${database} open. Stop the coordinator of this home first.`,
    );
  }
  for (const end of ['', ...JOURNALS]) {
    if (existsSync(`${database}${end}`)) renameSync(`${database}${end}`, `${keptAs}${end}`);
  }
  renameSync(restored, database);
  syncPath(dirname(database));
  return audit;
}

/** Copies aside, audits, syncs, renames: a file of this name is a whole one. */
function copiedBooks(database: string, target: string): Audit {
  readDatabase(database, ({ version }) => refuseStrange(database, version));
  const aside = `${target}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    copyDatabase(database, aside);
    const audit = auditBooks(aside);
    const [first] = audit.discrepancies;
    if (first !== undefined) {
      throw new DarkbloomError(
        'config_invalid',
        `The books are wrong (${first.kind} of ${first.about}); nothing was written. darkbloom-provider coordinator audit says more.`,
      );
    }
    syncPath(aside);
    renameSync(aside, target);
    syncPath(dirname(target));
    return audit;
  } catch (error) {
    rmSync(aside, { force: true });
    if (error instanceof DarkbloomError) throw error;
    const why = systemErrorCode(error) ?? 'unknown';
    throw new DarkbloomError('config_invalid', `${target} cannot be written (${why}). Check folder, rights and room.`, {
      cause: error,
    });
  }
}
