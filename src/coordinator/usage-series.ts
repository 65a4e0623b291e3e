import { z } from 'zod';
import type { Database } from '../database.js';
import { wholeNumber } from './columns.js';

/** Fine enough for the days of every time zone, whose offsets are quarters of an hour. */
export const BUCKET_MS = 15 * 60_000;
/** The newest are kept. */
export const MAX_SERIES_ROWS = 10_000;

const SeriesRow = z.object({
  at: wholeNumber,
  model: z.string(),
  requests: wholeNumber,
  prompt_tokens: wholeNumber,
  completion_tokens: wholeNumber,
  cost_micro_usd: z.bigint(),
});

/** Sums of an account's completed requests by quarter of an hour and model, the oldest first. `at` is where the quarter
 *  begins, ms since the epoch. */
export function usageSeries(database: Database, accountId: string, since: number): z.infer<typeof SeriesRow>[] {
  return database
    .all(
      `SELECT created_at / ${BUCKET_MS} * ${BUCKET_MS} AS at, alias AS model, count(*) AS requests,
         sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
         sum(cost_micro_usd) AS cost_micro_usd
       FROM usage WHERE account_id = ? AND created_at >= ?
       GROUP BY at, alias ORDER BY at DESC, alias DESC LIMIT ${MAX_SERIES_ROWS}`,
      accountId,
      since,
    )
    .map((row) => SeriesRow.parse(row))
    .reverse();
}
