import { z } from 'zod';
import type { Database } from '../database.js';
import { optional } from './columns.js';
import { SPENDING_WINDOWS, type SpendingWindow } from './spending-window.js';

/** What a key may spend at most. */
interface SpendingCap {
  /** Micro-USD in one window; `undefined`: no limit of its own. */
  spend: bigint | undefined;
  /** `undefined`: what was spent counts for ever. */
  window: SpendingWindow | undefined;
}

const CapRow = z
  .object({ limit_micro_usd: optional(z.bigint()), limit_window: optional(z.enum(SPENDING_WINDOWS)) })
  .transform((row): SpendingCap => ({ spend: row.limit_micro_usd, window: row.limit_window }));

/** As it is at this moment, not when the request was let in; `undefined` for a key that does not exist any more. */
export function capOfKey(database: Database, keyId: string): SpendingCap | undefined {
  const row = database.get('SELECT limit_micro_usd, limit_window FROM api_keys WHERE id = ?', keyId);
  return row === undefined ? undefined : CapRow.parse(row);
}
