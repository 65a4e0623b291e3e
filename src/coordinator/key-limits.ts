import { z } from 'zod';
import type { Database } from '../database.js';
import { optional, wholeNumber } from './columns.js';
import { SPENDING_WINDOWS, type SpendingWindow } from './spending-window.js';

/** What a key may do at most; `undefined`: no limit of its own. */
export interface KeyLimits {
  /** Micro-USD in one window. */
  spend: bigint | undefined;
  window: SpendingWindow | undefined;
  requestsPerMinute: number | undefined;
  inputTokensPerMinute: number | undefined;
  outputTokensPerMinute: number | undefined;
}

const LimitsRow = z
  .object({
    limit_micro_usd: optional(z.bigint()),
    limit_window: optional(z.enum(SPENDING_WINDOWS)),
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
