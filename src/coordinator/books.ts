import { Database } from '../database.js';
import { systemClock } from '../util/clock.js';
import { Accounts } from './accounts.js';
import { Ledger } from './ledger.js';
import { MIGRATIONS } from './migrations.js';

/** What a coordinator's file holds of other people's and the owner's: for whoever is about to delete it. */
export function openBooks(path: string): { accounts: { name: string; balance: bigint }[]; keys: number } {
  const database = new Database(path, MIGRATIONS);
  try {
    const accounts = new Accounts(database, systemClock);
    const ledger = new Ledger(database, systemClock);
    const all = accounts.list();
    return {
      accounts: all.map(({ id, name }) => ({ name, balance: ledger.balance(id).balance })),
      keys: all.reduce((sum, { id }) => sum + accounts.keys.list(id).length, 0),
    };
  } finally {
    database.close();
  }
}
