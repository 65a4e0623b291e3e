import { z } from 'zod';
import type { Database } from '../database.js';
import { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import { flag, wholeNumber } from './columns.js';
import { ApiKeys, type ApiKey } from './keys.js';
import { hashOf, newId, newSecret } from './secrets.js';

const OWNER_NAME = 'owner';
const MAX_ACCOUNT_NAME_LENGTH = 100;
const ACCOUNT_COLUMNS = 'accounts.id, accounts.name, accounts.is_owner, accounts.accept_unattested';

export interface Account {
  id: string;
  name: string;
  /** The person this coordinator belongs to. There is one. */
  isOwner: boolean;
  /** Whether paid requests may be served by other people's machines that prove nothing about themselves. */
  acceptUnattested: boolean;
}

/** Who asks, and with what: only a login may manage keys, so a leaked key cannot make more of them. */
export type Caller =
  | { account: Account; via: 'login' }
  | { account: Account; via: 'key'; key: ApiKey }
  | { account: Account; via: 'device' };

const AccountRow = z
  .object({ id: z.string(), name: z.string(), is_owner: flag, accept_unattested: flag })
  .transform((row): Account => ({
    id: row.id,
    name: row.name,
    isOwner: row.is_owner,
    acceptUnattested: row.accept_unattested,
  }));

/** A machine that may serve as the account's: one link token. */
export interface LinkedMachine {
  id: string;
  label: string;
  /** Milliseconds since the Unix epoch. */
  linkedAt: number;
}

const HashRow = z.object({ hash: z.string() });
const MachineRow = HashRow.extend({ label: z.string(), created_at: wholeNumber }).transform(
  ({ hash, label, created_at: linkedAt }): LinkedMachine => ({ id: idOfLink(hash), label, linkedAt }),
);

/** The name of the machine that has this link token. It is the same on every connection. */
export function machineIdOf(linkToken: string): string {
  return idOfLink(hashOf(linkToken));
}

/** Part of the stored hash: it tells machines apart, and nothing of the token. */
function idOfLink(hash: string): string {
  return `mach_${hash.slice(0, 24)}`;
}

/** Accounts and what proves who one is. Of every secret only its SHA-256 is stored, so it is shown once. */
export class Accounts {
  readonly keys: ApiKeys;
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.keys = new ApiKeys(database, clock);
    this.#database = database;
    this.#clock = clock;
  }

  /** The owner's account, created by the first call. */
  ensureOwner(): Account {
    return this.#database.transaction(() => {
      const owner = this.#get('is_owner = 1');
      return owner ?? this.#insert({ name: OWNER_NAME, isOwner: true, acceptUnattested: false });
    });
  }

  /** @throws DarkbloomError `bad_request` for a name that is empty, too long or taken. */
  add(name: string, options: { acceptUnattested: boolean }): Account {
    const trimmed = name.trim();
    if (trimmed === '' || trimmed.length > MAX_ACCOUNT_NAME_LENGTH) {
      throw badName(`The name of an account has 1 to ${MAX_ACCOUNT_NAME_LENGTH} characters.`);
    }
    return this.#database.transaction(() => {
      if (trimmed === OWNER_NAME || this.find(trimmed) !== undefined) {
        throw badName(`There is an account ${trimmed} already. Choose another name.`);
      }
      return this.#insert({ name: trimmed, isOwner: false, ...options });
    });
  }

  /** The account of a person whom an identity provider knows; made when it is seen first. */
  ofIdentity(issuer: string, subject: string): Account {
    return this.#database.transaction(() => {
      const sql = `SELECT ${ACCOUNT_COLUMNS} FROM identities JOIN accounts ON accounts.id = account_id
        WHERE issuer = ? AND subject = ?`;
      const known = optionalAccount(this.#database.get(sql, issuer, subject));
      if (known !== undefined) return known;
      const name = this.#freeName(subject);
      const account = this.#insert({ name, isOwner: false, acceptUnattested: false });
      this.#database.run(
        'INSERT INTO identities (issuer, subject, account_id, created_at) VALUES (?, ?, ?, ?)',
        issuer,
        subject,
        account.id,
        this.#clock.now(),
      );
      return account;
    });
  }

  /** The provider's word for the person where it can be a name here and nobody has it. */
  #freeName(subject: string): string {
    const fits = subject.length <= MAX_ACCOUNT_NAME_LENGTH && /^[\x21-\x7e]+$/u.test(subject);
    const free = fits && subject !== OWNER_NAME && this.find(subject) === undefined;
    return free ? subject : newId('user_');
  }

  find(idOrName: string): Account | undefined {
    return this.#get('id = ?', idOrName) ?? this.#get('name = ?', idOrName);
  }

  /** All accounts, oldest first. */
  list(): Account[] {
    return this.#database
      .all(`SELECT ${ACCOUNT_COLUMNS} FROM accounts ORDER BY created_at, rowid`)
      .map((row) => AccountRow.parse(row));
  }

  setAcceptUnattested(accountId: string, value: boolean): void {
    this.#database.run('UPDATE accounts SET accept_unattested = ? WHERE id = ?', Number(value), accountId);
  }

  /** A token with which the account's person signs in. */
  mintLoginToken(accountId: string): string {
    const token = newSecret('db-login-');
    this.#database.run(
      'INSERT INTO login_tokens (hash, account_id, created_at) VALUES (?, ?, ?)',
      hashOf(token),
      accountId,
      this.#clock.now(),
    );
    return token;
  }

  /** The same in place of all tokens that the account's person had: those are dead at once. */
  renewLoginToken(accountId: string): string {
    return this.#database.transaction(() => {
      this.#database.run('DELETE FROM login_tokens WHERE account_id = ?', accountId);
      return this.mintLoginToken(accountId);
    });
  }

  /** A token with which a machine serves as the account's. `label` says which machine. */
  mintProviderToken(accountId: string, label: string): string {
    const token = newSecret('eigeninference-pt-');
    this.#database.run(
      'INSERT INTO provider_tokens (hash, account_id, label, created_at) VALUES (?, ?, ?, ?)',
      hashOf(token),
      accountId,
      label,
      this.#clock.now(),
    );
    return token;
  }

  /** Whose login token has this SHA-256; `undefined` once it is gone. */
  accountOfLogin(hash: string): Account | undefined {
    return this.#holderOfHash('login_tokens', hash);
  }

  accountOfProviderToken(token: string): Account | undefined {
    return this.#holderOfHash('provider_tokens', hashOf(token));
  }

  /** The machines that are linked to the account, oldest first. */
  machines(accountId: string): LinkedMachine[] {
    return this.#database
      .all('SELECT * FROM provider_tokens WHERE account_id = ? ORDER BY created_at, rowid', accountId)
      .map((row) => MachineRow.parse(row));
  }

  /** Ends a machine's link, whoever has its token. False when the account has no such machine. */
  revokeMachine(accountId: string, machineId: string): boolean {
    const machine = this.#database
      .all('SELECT hash FROM provider_tokens WHERE account_id = ?', accountId)
      .map((row) => HashRow.parse(row).hash)
      .find((hash) => idOfLink(hash) === machineId);
    return machine !== undefined && this.#database.run('DELETE FROM provider_tokens WHERE hash = ?', machine) > 0;
  }

  /** The token is dead at once; a connection that was made with it stays until it ends. False: there is no such token. */
  revokeProviderToken(token: string): boolean {
    return this.#database.run('DELETE FROM provider_tokens WHERE hash = ?', hashOf(token)) > 0;
  }

  /** Whether any machine is linked to the account. */
  hasMachine(accountId: string): boolean {
    return this.#database.get('SELECT 1 FROM provider_tokens WHERE account_id = ? LIMIT 1', accountId) !== undefined;
  }

  /** Who a bearer token stands for: a login, an API key that is neither disabled nor expired, or a machine. The lookup
   *  is by hash alone, so that keys with an older prefix stay valid. */
  authenticate(token: string): Caller | undefined {
    const hash = hashOf(token);
    const key = this.keys.authenticate(hash); // the most often asked first
    const account = key && this.#get('id = ?', key.accountId);
    if (key !== undefined && account !== undefined) return { account, via: 'key', key };
    const login = this.#holderOfHash('login_tokens', hash);
    if (login !== undefined) return { account: login, via: 'login' };
    const device = this.#holderOfHash('provider_tokens', hash);
    return device && { account: device, via: 'device' };
  }

  #insert(account: Omit<Account, 'id'>): Account {
    const id = newId('acct_');
    this.#database.run(
      'INSERT INTO accounts (id, name, is_owner, accept_unattested, created_at) VALUES (?, ?, ?, ?, ?)',
      id,
      account.name,
      Number(account.isOwner),
      Number(account.acceptUnattested),
      this.#clock.now(),
    );
    return { id, ...account };
  }

  #get(condition: 'id = ?' | 'name = ?' | 'is_owner = 1', ...values: string[]): Account | undefined {
    return optionalAccount(this.#database.get(`SELECT ${ACCOUNT_COLUMNS} FROM accounts WHERE ${condition}`, ...values));
  }

  #holderOfHash(table: 'login_tokens' | 'provider_tokens', hash: string): Account | undefined {
    const sql = `SELECT ${ACCOUNT_COLUMNS} FROM ${table} JOIN accounts ON accounts.id = account_id WHERE hash = ?`;
    return optionalAccount(this.#database.get(sql, hash));
  }
}

function optionalAccount(row: Record<string, unknown> | undefined): Account | undefined {
  return row === undefined ? undefined : AccountRow.parse(row);
}

function badName(message: string): DarkbloomError {
  return new DarkbloomError('bad_request', message, { param: 'name' });
}
