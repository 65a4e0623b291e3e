import { z } from 'zod';
import type { Database, SqlValue } from '../database.js';
import { DarkbloomError } from '../errors.js';
import { wholeNumber } from './columns.js';
import { UsageRow, type RouteMode } from './ledger.js';

/** Which of an account's requests to list, newest first. */
export interface Wanted {
  limit: number;
  /** The last request of the page before. */
  after?: string | undefined;
  /** As the consumer named it; of earnings, the build. */
  model?: string | undefined;
  keyId?: string | undefined;
  routeMode?: RouteMode | undefined;
  /** Milliseconds since the epoch, this moment included. */
  from?: number | undefined;
  /** Not included. */
  to?: number | undefined;
}

export interface Page<Row> {
  rows: Row[];
  /** Whether there is another page after it. */
  more: boolean;
}

const EarningRow = z
  .object({
    request_id: z.string(),
    build: z.string(),
    provider_id: z.string(),
    prompt_tokens: wholeNumber,
    completion_tokens: wholeNumber,
    amount_micro_usd: z.bigint(),
    created_at: wholeNumber,
  })
  .transform((row) => ({
    requestId: row.request_id,
    build: row.build,
    providerId: row.provider_id,
    promptTokens: row.prompt_tokens,
    completionTokens: row.completion_tokens,
    /** Micro-USD. */
    amount: row.amount_micro_usd,
    createdAt: row.created_at,
  }));
export type EarningRow = z.infer<typeof EarningRow>;

const Sum = z.object({ count: wholeNumber, total: z.bigint() });

/** What the books remember of an account's requests. Reads only. */
export class History {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Completed requests that the account asked.
   *  @throws DarkbloomError `invalid_request` for a page after a request that is not the account's. */
  usage(accountId: string, wanted: Wanted): Page<UsageRow> {
    const last = 'SELECT rowid AS place FROM usage WHERE request_id = ? AND account_id = ?';
    const conditions: Condition[] = [
      ['account_id = ?', accountId],
      [
        '(created_at, rowid) < (SELECT created_at, rowid FROM usage WHERE rowid = ?)',
        this.#place(last, accountId, wanted),
      ],
      ['alias = ?', wanted.model],
      ['key_id = ?', wanted.keyId],
      ['route_mode = ?', wanted.routeMode],
      ['created_at >= ?', wanted.from],
      ['created_at < ?', wanted.to],
    ];
    return this.#page('SELECT * FROM usage', conditions, 'created_at DESC, rowid DESC', wanted.limit, UsageRow);
  }

  /** Requests that the account's machines were paid for.
   *  @throws DarkbloomError `invalid_request` for a page after a request that is not among them. */
  earnings(accountId: string, wanted: Wanted): Page<EarningRow> {
    const last = "SELECT seq AS place FROM ledger WHERE reference = ? AND account_id = ? AND kind = 'payout'";
    const conditions: Condition[] = [
      ["kind = 'payout' AND ledger.account_id = ?", accountId],
      ['seq < ?', this.#place(last, accountId, wanted)],
      ['build = ?', wanted.model],
      ['usage.created_at >= ?', wanted.from],
      ['usage.created_at < ?', wanted.to],
    ];
    const columns = 'request_id, build, provider_id, prompt_tokens, completion_tokens, amount_micro_usd';
    const sql = `SELECT ${columns}, usage.created_at FROM ledger CROSS JOIN usage ON request_id = reference`;
    return this.#page(sql, conditions, 'seq DESC', wanted.limit, EarningRow);
  }

  /** All that the account's machines were ever paid, micro-USD, and for how many requests. */
  earned(accountId: string): { count: number; total: bigint } {
    const sql = `SELECT count(*) AS count, coalesce(sum(amount_micro_usd), 0) AS total FROM ledger
      WHERE account_id = ? AND kind = 'payout'`;
    return Sum.parse(this.#database.get(sql, accountId));
  }

  #page<T extends z.ZodType>(
    select: string,
    conditions: readonly Condition[],
    order: string,
    limit: number,
    row: T,
  ): Page<z.output<T>> {
    const used = conditions.filter((condition): condition is [string, SqlValue] => condition[1] !== undefined);
    const where = used.map(([sql]) => sql).join(' AND ');
    const values = used.map(([, value]) => value);
    const sql = `${select} WHERE ${where} ORDER BY ${order} LIMIT ?`;
    const found = this.#database.all(sql, ...values, limit + 1);
    return { rows: found.slice(0, limit).map((each) => row.parse(each)), more: found.length > limit };
  }

  #place(sql: string, accountId: string, { after }: Wanted): bigint | undefined {
    if (after === undefined) return undefined;
    const row = this.#database.get(sql, after, accountId);
    if (row !== undefined) return z.object({ place: z.bigint() }).parse(row).place;
    throw new DarkbloomError('invalid_request', "'after' must be the job_id of a row of this list.", {
      param: 'after',
    });
  }
}

/** What must hold, and the value in it; without a value it need not hold. */
type Condition = [sql: string, value: SqlValue | undefined];
