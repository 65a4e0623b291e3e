import { z } from 'zod';
import type { Database } from '../database.js';
import { hashOf } from './secrets.js';

const HASH_CHARACTERS = 24;

/** A machine that was linked to an account, connected or not. */
export interface LinkedMachine {
  id: string;
  /** What its link was called. */
  label: string;
}

/** The name of a machine for its owner: it stays from connection to connection, and ends with the link. A part of the
 *  hash of its link token, which says nothing of the token. */
export function machineIdOf(linkToken: string): string {
  return idOf(hashOf(linkToken));
}

/** The linked machines of all accounts. */
export class Machines {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The account's machines, oldest link first. */
  of(accountId: string): LinkedMachine[] {
    const Row = z.object({ hash: z.string(), label: z.string() });
    return this.#database
      .all('SELECT hash, label FROM provider_tokens WHERE account_id = ? ORDER BY created_at, rowid', accountId)
      .map((row) => Row.parse(row))
      .map(({ hash, label }) => ({ id: idOf(hash), label }));
  }
}

function idOf(hash: string): string {
  return `mach_${hash.slice(0, HASH_CHARACTERS)}`;
}
