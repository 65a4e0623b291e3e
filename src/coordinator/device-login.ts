import { randomInt } from 'node:crypto';
import { z } from 'zod';
import type { Database } from '../database.js';
import { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import type { Accounts } from './accounts.js';
import { flag, optional, wholeNumber } from './columns.js';
import { hashOf, newSecret } from './secrets.js';

export const DEVICE_CODE_LIFE_S = 900;
/** Codes that wait for their approval at one time. Anybody may ask for one, so there is a bound. */
export const MAX_OPEN_CODES = 1_000;
/** An expired code is known for this long, so that a late poll hears "expired" and not "unknown". */
const EXPIRED_CODE_MEMORY_MS = 15 * 60_000;

/** Without I, L, O, 0 and 1, which people confuse. */
const USER_CODE_SYMBOLS = 'ABCDEFGHJKMNPQRSTUVWXYZ23456789';
const USER_CODE_HALF = 4;

const CodeRow = z.object({
  user_code: z.string(),
  expires_at: wholeNumber,
  account_id: optional(z.string()),
  redeemed: flag,
});

type Poll = { status: 'pending' } | { status: 'authorized'; token: string; accountId: string };

/**
 * Links a machine to an account without typing a secret:
 *
 *   start ──▶ pending ──approve──▶ approved ──poll──▶ redeemed
 *                └── 15 minutes ──────┴──▶ expired
 *
 * Of the device code only its hash is stored, and the machine's token is made by the poll that takes it away.
 */
export class DeviceLogin {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #accounts: Accounts;

  constructor(database: Database, clock: Clock, accounts: Accounts) {
    this.#database = database;
    this.#clock = clock;
    this.#accounts = accounts;
  }

  /** A new code. When too many wait for their approval the oldest of them is forgotten: nobody can keep others out. */
  start(): { deviceCode: string; userCode: string } {
    return this.#database.transaction(() => {
      const now = this.#clock.now();
      this.#database.run('DELETE FROM device_codes WHERE expires_at <= ?', now - EXPIRED_CODE_MEMORY_MS);
      if (this.#openCodes(now) >= MAX_OPEN_CODES) this.#forgetOldest();
      const deviceCode = newSecret('');
      const userCode = this.#freeUserCode();
      this.#database.run(
        'INSERT INTO device_codes (hash, user_code, expires_at) VALUES (?, ?, ?)',
        hashOf(deviceCode),
        userCode,
        now + DEVICE_CODE_LIFE_S * 1_000,
      );
      return { deviceCode, userCode };
    });
  }

  #forgetOldest(): void {
    this.#database.run(
      'DELETE FROM device_codes WHERE hash = (SELECT hash FROM device_codes WHERE account_id IS NULL ORDER BY expires_at LIMIT 1)',
    );
  }

  /** The machine's question whether it was approved. The first answer after the approval carries the token; there is
   *  no second one.
   *  @throws DarkbloomError `invalid_grant` for an unknown code, `expired_token` for an expired or redeemed one. */
  poll(deviceCode: string): Poll {
    const hash = hashOf(deviceCode);
    return this.#database.transaction((): Poll => {
      const row = this.#database.get('SELECT * FROM device_codes WHERE hash = ?', hash);
      if (row === undefined) throw new DarkbloomError('invalid_grant', 'This device code is not known.');
      const code = CodeRow.parse(row);
      if (code.redeemed || code.expires_at <= this.#clock.now()) {
        throw new DarkbloomError('expired_token', 'This device code has expired. Start the login again.');
      }
      if (code.account_id === undefined) return { status: 'pending' };
      this.#database.run('UPDATE device_codes SET redeemed = 1 WHERE hash = ?', hash);
      const token = this.#accounts.mintProviderToken(code.account_id, `device-${code.user_code}`);
      return { status: 'authorized', token, accountId: code.account_id };
    });
  }

  /** The person's word that the machine showing `userCode` belongs to the account.
   *  @throws DarkbloomError `invalid_code`, `expired_code` or `already_used`. */
  approve(userCode: string, accountId: string): void {
    const wanted = userCode.trim().toUpperCase();
    this.#database.transaction(() => {
      const row = this.#database.get('SELECT * FROM device_codes WHERE user_code = ?', wanted);
      if (row === undefined) throw new DarkbloomError('invalid_code', 'This code is not known. Check its letters.');
      const code = CodeRow.parse(row);
      if (code.account_id !== undefined) throw new DarkbloomError('already_used', 'This code was approved already.');
      if (code.expires_at <= this.#clock.now()) {
        throw new DarkbloomError('expired_code', 'This code has expired. Start the login on the machine again.');
      }
      this.#database.run('UPDATE device_codes SET account_id = ? WHERE user_code = ?', accountId, wanted);
    });
  }

  #openCodes(now: number): number {
    const sql = 'SELECT count(*) AS count FROM device_codes WHERE expires_at > ? AND account_id IS NULL';
    return z.object({ count: wholeNumber }).parse(this.#database.get(sql, now)).count;
  }

  #freeUserCode(): string {
    for (;;) {
      const code = `${randomSymbols()}-${randomSymbols()}`;
      if (this.#database.get('SELECT 1 FROM device_codes WHERE user_code = ?', code) === undefined) return code;
    }
  }
}

function randomSymbols(): string {
  return Array.from({ length: USER_CODE_HALF }, () => USER_CODE_SYMBOLS[randomInt(USER_CODE_SYMBOLS.length)]).join('');
}
