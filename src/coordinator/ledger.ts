import { z } from 'zod';
import type { Database } from '../database.js';
import { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import { cost, fee, finalCharge, formatUsd, PLATFORM_ACCOUNT, type Price } from './billing.js';
import { flag, optional, wholeNumber } from './columns.js';
import { capOfKey } from './spending-cap.js';
import { windowStart } from './spending-window.js';

const Kind = z.enum(['admin_credit', 'charge', 'refund', 'payout', 'platform_fee']);
type Kind = z.infer<typeof Kind>;

/** Whose machine may serve: any, the caller's own first, the caller's own only. */
const RouteMode = z.enum(['none', 'prefer', 'self']);
export type RouteMode = z.infer<typeof RouteMode>;

/** Micro-USD. What was earned may be withdrawn, what was given or refunded may only be spent. */
export interface Balance {
  balance: bigint;
  withdrawable: bigint;
}

export const LedgerRow = z
  .object({
    seq: wholeNumber,
    account_id: z.string(),
    kind: Kind,
    amount_micro_usd: z.bigint(),
    balance_after: z.bigint(),
    withdrawable_after: z.bigint(),
    reference: z.string(),
    created_at: wholeNumber,
  })
  .transform((row) => ({
    seq: row.seq,
    accountId: row.account_id,
    kind: row.kind,
    /** Micro-USD; negative takes from the account. */
    amount: row.amount_micro_usd,
    balanceAfter: row.balance_after,
    withdrawableAfter: row.withdrawable_after,
    reference: row.reference,
    createdAt: row.created_at,
  }));
export type LedgerRow = z.infer<typeof LedgerRow>;

const HoldRow = z
  .object({ request_id: z.string(), account_id: z.string(), amount: z.bigint() })
  .transform((row) => ({ requestId: row.request_id, accountId: row.account_id, amount: row.amount }));
type Hold = z.infer<typeof HoldRow>;

export const UsageRow = z
  .object({
    request_id: z.string(),
    account_id: z.string(),
    key_id: optional(z.string()),
    alias: z.string(),
    build: z.string(),
    provider_id: z.string(),
    provider_account_id: z.string(),
    prompt_tokens: wholeNumber,
    completion_tokens: wholeNumber,
    cost_micro_usd: z.bigint(),
    route_mode: RouteMode,
    free_self_route: flag,
    created_at: wholeNumber,
  })
  .transform((row) => ({
    requestId: row.request_id,
    accountId: row.account_id,
    keyId: row.key_id,
    alias: row.alias,
    build: row.build,
    providerId: row.provider_id,
    providerAccountId: row.provider_account_id,
    promptTokens: row.prompt_tokens,
    completionTokens: row.completion_tokens,
    /** Micro-USD. */
    cost: row.cost_micro_usd,
    routeMode: row.route_mode,
    freeSelfRoute: row.free_self_route,
    createdAt: row.created_at,
  }));
export type UsageRow = z.infer<typeof UsageRow>;

const BalanceRow = z
  .object({ balance_after: z.bigint(), withdrawable_after: z.bigint() })
  .transform((row): Balance => ({ balance: row.balance_after, withdrawable: row.withdrawable_after }));
const HeldRow = z.object({ held: z.bigint() });
const SpentRow = z.object({ spent: z.bigint(), until_row: z.bigint().nullable() });

/** Keys whose spending is kept summed up. */
const MAX_KEYS_REMEMBERED = 10_000;

/** Micro-USD that a key spent in the rows up to `untilRow` that were made at `sinceMs` or later. */
interface KeySpending {
  sinceMs: number;
  untilRow: bigint;
  spent: bigint;
}

/** Why a hold goes back: the request was turned away before a provider had it, or ended without a completion. */
export type RefundReason =
  | 'reservation_refund'
  | 'provider_error'
  | 'provider_incomplete'
  | 'provider_timeout'
  | 'no_terminal_after_cancel'
  | 'provider_error_after_disconnect';

/** A request that a provider completed. */
export interface Completion {
  requestId: string;
  accountId: string;
  keyId?: string | undefined;
  /** The name the consumer asked for. */
  alias: string;
  build: string;
  providerId: string;
  /** The account of the machine that served. */
  providerAccountId: string;
  promptTokens: number;
  completionTokens: number;
  /** Of the machine that served. */
  price: Price;
  routeMode: RouteMode;
  /** The platform's part in whole percent; none by default. */
  feePercent?: number;
}

/** Micro-USD. `cost` is what the consumer paid: `payout` went to the machine's account and `fee` to the platform. */
interface Settlement {
  cost: bigint;
  payout: bigint;
  fee: bigint;
}

/**
 * Who owes whom, in rows that are only ever added; a balance is what its last row says. One request:
 *
 *   hold ──▶ open ──settle──▶ settled (usage row)
 *              └────refund──▶ refunded
 *
 * The first of settle and refund wins. A request on the caller's own machine alone ('self') has no hold.
 */
export class Ledger {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #keySpending = new Map<string, KeySpending>();

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Does work on these books in one commit with all other such work of this moment; resolves when it is on the disk. */
  async together<T>(work: () => T): Promise<T> {
    try {
      return await this.#database.together(work);
    } catch (error) {
      if (!(error instanceof DarkbloomError)) this.#keySpending.clear(); // it may have summed rows that are not there
      throw error;
    }
  }

  /** An account that never had a row has nothing. */
  balance(accountId: string): Balance {
    const sql = 'SELECT balance_after, withdrawable_after FROM ledger WHERE account_id = ? ORDER BY seq DESC LIMIT 1';
    const last = this.#database.get(sql, accountId);
    return last === undefined ? { balance: 0n, withdrawable: 0n } : BalanceRow.parse(last);
  }

  /** Gives the account money to spend, not to withdraw.
   *  @throws DarkbloomError `bad_request` for an amount that is not positive. */
  credit(accountId: string, amount: bigint, reference: string): void {
    if (amount <= 0n) {
      throw new DarkbloomError('bad_request', 'A credit is more than 0 USD.', { param: 'amount' });
    }
    this.#database.transaction(() => this.#append(accountId, 'admin_credit', amount, reference));
  }

  /** Takes the most that a request may cost before it is sent. Without the money, or above the cap of the key, there is no
   *  hold and no row.
   *  @throws DarkbloomError `key_limit_reached`, `insufficient_quota`; `internal` for a request that is open or settled already. */
  hold(request: { requestId: string; accountId: string; keyId?: string | undefined; amount: bigint }): void {
    const { requestId, accountId, keyId, amount } = request;
    this.#database.transaction(() => {
      if (this.#openHold(requestId) !== undefined || this.#isSettled(requestId)) {
        throw new DarkbloomError('internal', `request ${requestId} is open or settled already`);
      }
      if (keyId !== undefined) this.#checkKeyCap(keyId, amount);
      const before = this.balance(accountId);
      if (before.balance < amount) {
        throw new DarkbloomError(
          'insufficient_quota',
          `This request may cost up to $${formatUsd(amount)}; the account has $${formatUsd(before.balance)}.`,
        );
      }
      this.#append(accountId, 'charge', -amount, `reserve:${accountId}`, before);
      this.#database.run(
        'INSERT INTO open_holds (request_id, account_id, key_id, amount) VALUES (?, ?, ?, ?)',
        requestId,
        accountId,
        keyId ?? null,
        amount,
      );
    });
  }

  /** Gives the whole open hold back. False when there is none: never taken, settled, or refunded before. */
  refund(requestId: string, reason: RefundReason = 'reservation_refund'): boolean {
    return this.#database.transaction(() => {
      const hold = this.#openHold(requestId);
      if (hold === undefined) return false;
      this.#close(hold, hold.amount, reason === 'reservation_refund' ? reason : `${reason}:${requestId}`);
      return true;
    });
  }

  /** Gives back the holds of requests that were running when the last coordinator ended.
   *  @returns their number. */
  refundOrphans(): number {
    return this.#database.transaction(() => {
      const orphans = this.#database.all('SELECT * FROM open_holds').map((row) => HoldRow.parse(row));
      for (const hold of orphans) this.#close(hold, hold.amount, `orphaned_hold:${hold.requestId}`);
      return orphans.length;
    });
  }

  /** Ends a completed request: charges the consumer, pays the machine's account, writes the usage row; all or nothing.
   *  `undefined`, and nothing moves, when the request was settled or refunded before. */
  settle(completion: Completion): Settlement | undefined {
    const { requestId, accountId, providerAccountId, routeMode } = completion;
    return this.#database.transaction(() => {
      const hold = this.#openHold(requestId);
      const finished = hold === undefined && routeMode !== 'self';
      if (finished || this.#isSettled(requestId)) return undefined;

      const free = routeMode !== 'none' && providerAccountId === accountId;
      const charged = free ? this.#release(hold) : this.#collect(completion, hold);
      const platformFee = fee(charged, completion.feePercent ?? 0);
      const payout = charged - platformFee;
      if (payout > 0n) this.#append(providerAccountId, 'payout', payout, requestId);
      if (platformFee > 0n) this.#append(PLATFORM_ACCOUNT, 'platform_fee', platformFee, requestId);
      this.#insertUsage(completion, charged, free);
      return { cost: charged, payout, fee: platformFee };
    });
  }

  usageOf(requestId: string): UsageRow | undefined {
    const row = this.#database.get('SELECT * FROM usage WHERE request_id = ?', requestId);
    return row === undefined ? undefined : UsageRow.parse(row);
  }

  /** Micro-USD of what was settled with an API key since a moment, ms since the epoch; 0: ever. Sums only what came since
   *  it was asked last: every request of a capped key asks. */
  spentWithKey(keyId: string, sinceMs = 0): bigint {
    const known = this.#keySpending.get(keyId);
    const before = known?.sinceMs === sinceMs ? known : { sinceMs, untilRow: 0n, spent: 0n };
    const sql = `SELECT coalesce(sum(cost_micro_usd) FILTER (WHERE created_at >= ?), 0) AS spent, max(rowid) AS until_row
      FROM usage WHERE key_id = ? AND rowid > ?`;
    const row = SpentRow.parse(this.#database.get(sql, sinceMs, keyId, before.untilRow));
    const now = { sinceMs, untilRow: row.until_row ?? before.untilRow, spent: before.spent + row.spent };
    if (this.#keySpending.size >= MAX_KEYS_REMEMBERED) this.#keySpending.clear();
    this.#keySpending.set(keyId, now);
    return now.spent;
  }

  /** The account's rows, oldest first. */
  rows(accountId: string): LedgerRow[] {
    return this.#database
      .all('SELECT * FROM ledger WHERE account_id = ? ORDER BY seq', accountId)
      .map((row) => LedgerRow.parse(row));
  }

  /** What a key has spent in this window, what its running requests may still cost, and this one.
   *  @throws DarkbloomError `key_limit_reached`. */
  #checkKeyCap(keyId: string, amount: bigint): void {
    const limits = capOfKey(this.#database, keyId);
    if (limits?.spend === undefined) return;
    const spent = this.spentWithKey(keyId, windowStart(limits.window, this.#clock.now()));
    const sql = 'SELECT coalesce(sum(amount), 0) AS held FROM open_holds WHERE key_id = ?';
    const { held } = HeldRow.parse(this.#database.get(sql, keyId));
    if (spent + held + amount <= limits.spend) return;
    const cap = `$${formatUsd(limits.spend)}${limits.window === undefined ? '' : ` ${limits.window}`}`;
    const used = `$${formatUsd(spent)} is spent${held > 0n ? ` and $${formatUsd(held)} on hold` : ''}`;
    throw new DarkbloomError(
      'key_limit_reached',
      `This request may cost up to $${formatUsd(amount)}; the key's limit is ${cap}, of which ${used}.`,
    );
  }

  /** The consumer's own machine served: the request is free. */
  #release(hold: Hold | undefined): bigint {
    if (hold !== undefined) this.#close(hold, hold.amount, hold.requestId);
    return 0n;
  }

  #collect(completion: Completion, hold: Hold | undefined): bigint {
    const { requestId, accountId, promptTokens, completionTokens, price } = completion;
    const costed = cost(promptTokens, completionTokens, price);
    const before = this.balance(accountId);
    const { charged, refund, extra } = finalCharge(costed, hold?.amount ?? 0n, before.balance);
    // one of them at most adds a row
    if (hold !== undefined) this.#close(hold, refund, requestId, before);
    if (extra > 0n) {
      this.#append(accountId, 'charge', -extra, hold === undefined ? requestId : `overage:${requestId}`, before);
    }
    return charged;
  }

  /** The hold is no longer open; `refund` of it goes back. */
  #close(hold: Hold, refund: bigint, reference: string, before?: Balance): void {
    if (refund > 0n) this.#append(hold.accountId, 'refund', refund, reference, before);
    this.#database.run('DELETE FROM open_holds WHERE request_id = ?', hold.requestId);
  }

  #isSettled(requestId: string): boolean {
    return this.#database.get('SELECT 1 FROM usage WHERE request_id = ?', requestId) !== undefined;
  }

  #openHold(requestId: string): Hold | undefined {
    const row = this.#database.get('SELECT * FROM open_holds WHERE request_id = ?', requestId);
    return row === undefined ? undefined : HoldRow.parse(row);
  }

  /** `before`: the account's balance, where it was just read. */
  #append(
    accountId: string,
    kind: Kind,
    amount: bigint,
    reference: string,
    before: Balance = this.balance(accountId),
  ): void {
    const after = balanceAfter(before, kind, amount);
    this.#database.run(
      `INSERT INTO ledger (account_id, kind, amount_micro_usd, balance_after, withdrawable_after, reference, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
      accountId,
      kind,
      amount,
      after.balance,
      after.withdrawable,
      reference,
      this.#clock.now(),
    );
  }

  #insertUsage(completion: Completion, charged: bigint, free: boolean): void {
    this.#database.run(
      `INSERT INTO usage (request_id, account_id, key_id, alias, build, provider_id, provider_account_id,
         prompt_tokens, completion_tokens, cost_micro_usd, route_mode, free_self_route, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      completion.requestId,
      completion.accountId,
      completion.keyId ?? null,
      completion.alias,
      completion.build,
      completion.providerId,
      completion.providerAccountId,
      completion.promptTokens,
      completion.completionTokens,
      charged,
      completion.routeMode,
      Number(free),
      this.#clock.now(),
    );
  }
}

/** The balance after one more row. Spending uses up what was given first; only earnings can be withdrawn. */
export function balanceAfter(before: Balance, kind: Kind, amount: bigint): Balance {
  const balance = before.balance + amount;
  const earned = kind === 'payout' ? amount : 0n;
  const withdrawable = before.withdrawable + earned;
  return { balance, withdrawable: withdrawable < balance ? withdrawable : balance };
}
