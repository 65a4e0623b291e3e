import { z } from 'zod';
import type { Database } from '../database.js';
import { optional, wholeNumber } from './columns.js';

/** Since when a key's spending counts against its cap; `none`: since ever. */
export const LimitWindow = z.enum(['none', 'daily', 'weekly', 'monthly']);
export type LimitWindow = z.infer<typeof LimitWindow>;

/** What a key may do at most; `undefined`: no limit of its own. */
export interface KeyLimits {
  /** Micro-USD in one window. */
  spend: bigint | undefined;
  window: LimitWindow;
  requestsPerMinute: number | undefined;
  inputTokensPerMinute: number | undefined;
  outputTokensPerMinute: number | undefined;
}

const LimitsRow = z
  .object({
    limit_micro_usd: optional(z.bigint()),
    limit_window: LimitWindow,
    rpm_limit: optional(wholeNumber),
    itpm_limit: optional(wholeNumber),
    otpm_limit: optional(wholeNumber),
  })
  .transform((row): KeyLimits => ({
    spend: row.limit_micro_usd,
    window: row.limit_window,
    requestsPerMinute: row.rpm_limit,
    inputTokensPerMinute: row.itpm_limit,
    outputTokensPerMinute: row.otpm_limit,
  }));

/** `undefined` for a key that does not exist any more. */
export function limitsOfKey(database: Database, keyId: string): KeyLimits | undefined {
  const sql = 'SELECT limit_micro_usd, limit_window, rpm_limit, itpm_limit, otpm_limit FROM api_keys WHERE id = ?';
  const row = database.get(sql, keyId);
  return row === undefined ? undefined : LimitsRow.parse(row);
}

const DAY_MS = 86_400_000;
/** 1970-01-01, day 0 of the epoch, was a Thursday: so many days after a Monday. */
const EPOCH_WEEKDAY = 3;

/** When the window that `now` lies in began, ms since the epoch, in UTC; weeks begin on Monday. 0: at no time, all
 *  spending counts. */
export function windowStart(now: number, window: LimitWindow): number {
  const day = Math.floor(now / DAY_MS);
  switch (window) {
    case 'none':
      return 0;
    case 'daily':
      return day * DAY_MS;
    case 'weekly':
      return (day - ((day + EPOCH_WEEKDAY) % 7)) * DAY_MS;
    case 'monthly': {
      const date = new Date(now);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
    }
    default:
      return window satisfies never;
  }
}
