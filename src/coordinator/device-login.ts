import { randomInt } from 'node:crypto';
import { z } from 'zod';
import type { Database } from '../database.js';
import { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import type { Accounts } from './accounts.js';
import { flag, optional, wholeNumber } from './columns.js';
import { hashOf, newSecret } from './secrets.js';

export const DEVICE_CODE_LIFE_S = 900;
/** What a machine that waits is told to leave between two questions. */
export const POLL_PERIOD_S = 5;
/** Two questions so close are too fast; the second that is forgiven covers clocks and networks. */
const MIN_POLL_GAP_MS = (POLL_PERIOD_S - 1) * 1_000;
/** Codes that one account may guess wrongly in the life of a code. */
export const MAX_WRONG_CODES = 10;
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
  denied: flag,
});
type CodeRow = z.infer<typeof CodeRow>;

type Poll = { status: 'pending' } | { status: 'authorized'; token: string; accountId: string };

interface Guesses {
  wrong: number;
  /** When they are forgotten, ms since the epoch. */
  until: number;
}

/**
 * Links a machine to an account without typing a secret:
 *
 *   start ──▶ pending ──approve──▶ approved ──poll──▶ redeemed
 *                ├──deny──▶ denied    │
 *                └── 15 minutes ──────┴──▶ expired
 *
 * Of the device code only its hash is stored, and the machine's token is made by the poll that takes it away.
 */
export class DeviceLogin {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #accounts: Accounts;
  /** When a code that still waits was last asked for, by its hash. No more than the codes that wait. */
  readonly #polledAt = new Map<string, number>();
  /** Wrong guesses, by account. */
  readonly #guesses = new Map<string, Guesses>();

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
      for (const [hash, at] of this.#polledAt) if (now - at >= MIN_POLL_GAP_MS) this.#polledAt.delete(hash);
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
   *  @throws DarkbloomError `invalid_grant` for an unknown code, `expired_token` for an expired or redeemed one,
   *    `access_denied`, `slow_down` for a machine that asks again too soon. */
  poll(deviceCode: string): Poll {
    const hash = hashOf(deviceCode);
    return this.#database.transaction((): Poll => {
      const now = this.#clock.now();
      const row = this.#database.get('SELECT * FROM device_codes WHERE hash = ?', hash);
      if (row === undefined) throw new DarkbloomError('invalid_grant', 'This device code is not known.');
      const code = CodeRow.parse(row);
      if (code.redeemed || code.expires_at <= now) {
        throw new DarkbloomError('expired_token', 'This device code has expired. Start the login again.');
      }
      if (code.denied) throw new DarkbloomError('access_denied', 'The login was refused on the coordinator.');
      if (code.account_id === undefined) {
        this.#refuseHaste(hash, now);
        return { status: 'pending' };
      }
      this.#polledAt.delete(hash);
      this.#database.run('UPDATE device_codes SET redeemed = 1 WHERE hash = ?', hash);
      const token = this.#accounts.mintProviderToken(code.account_id, `device-${code.user_code}`);
      return { status: 'authorized', token, accountId: code.account_id };
    });
  }

  #refuseHaste(hash: string, now: number): void {
    const last = this.#polledAt.get(hash);
    this.#polledAt.set(hash, now);
    if (last === undefined || now - last >= MIN_POLL_GAP_MS) return;
    throw new DarkbloomError('slow_down', `Ask every ${POLL_PERIOD_S} seconds, not more often.`, {
      retryAfterS: POLL_PERIOD_S,
    });
  }

  /** The person's word that the machine showing `userCode` belongs to the account.
   *  @throws DarkbloomError `invalid_code`, `expired_code`, `already_used`; `slow_down` after too many wrong codes. */
  approve(userCode: string, accountId: string): void {
    this.#decide(userCode, accountId, (code) =>
      this.#database.run('UPDATE device_codes SET account_id = ? WHERE user_code = ?', accountId, code),
    );
  }

  /** The person's word that the machine showing `userCode` is not to be linked.
   *  @throws DarkbloomError as `approve` does. */
  deny(userCode: string, accountId: string): void {
    this.#decide(userCode, accountId, (code) =>
      this.#database.run('UPDATE device_codes SET denied = 1 WHERE user_code = ?', code),
    );
  }

  #decide(userCode: string, accountId: string, decide: (userCode: string) => void): void {
    const wanted = userCode.trim().toUpperCase();
    this.#refuseGuessing(accountId);
    this.#database.transaction(() => {
      const row = this.#database.get('SELECT * FROM device_codes WHERE user_code = ?', wanted);
      if (row === undefined) {
        this.#countGuess(accountId);
        throw new DarkbloomError('invalid_code', 'This code is not known. Check its letters.');
      }
      this.#refuseDecided(CodeRow.parse(row));
      decide(wanted);
    });
  }

  #refuseDecided(code: CodeRow): void {
    if (code.account_id !== undefined) throw new DarkbloomError('already_used', 'This code was approved already.');
    if (code.denied) throw new DarkbloomError('already_used', 'This code was refused already.');
    if (code.expires_at <= this.#clock.now()) {
      throw new DarkbloomError('expired_code', 'This code has expired. Start the login on the machine again.');
    }
  }

  /** Codes are short, so nobody may try many. */
  #refuseGuessing(accountId: string): void {
    const now = this.#clock.now();
    const guesses = this.#guesses.get(accountId);
    if (guesses === undefined || guesses.wrong < MAX_WRONG_CODES) return;
    if (guesses.until <= now) {
      this.#guesses.delete(accountId);
      return;
    }
    const retryAfterS = Math.ceil((guesses.until - now) / 1_000);
    throw new DarkbloomError(
      'slow_down',
      `${MAX_WRONG_CODES} wrong codes came from this account. Wait ${retryAfterS} s, then check the code on the machine.`,
      { retryAfterS },
    );
  }

  #countGuess(accountId: string): void {
    const now = this.#clock.now();
    const known = this.#guesses.get(accountId);
    const before = known !== undefined && known.until > now ? known.wrong : 0;
    this.#guesses.set(accountId, { wrong: before + 1, until: now + DEVICE_CODE_LIFE_S * 1_000 });
  }

  #openCodes(now: number): number {
    const sql = 'SELECT count(*) AS count FROM device_codes WHERE expires_at > ? AND account_id IS NULL AND denied = 0';
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
