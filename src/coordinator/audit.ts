import { z } from 'zod';
import { readDatabase, type DatabaseReader } from '../database.js';
import { DarkbloomError } from '../errors.js';
import { PLATFORM_ACCOUNT } from './billing.js';
import { wholeNumber } from './columns.js';
import { balanceAfter, LedgerRow } from './ledger.js';
import { MIGRATIONS } from './migrations.js';

/** Something in the books that does not follow from their rows. Amounts are micro-USD. */
export interface Discrepancy {
  /**
   * `balance`: a row says another balance than the rows up to it add up to; `charged`: an account paid other than its
   * settled requests and open holds come to; `paid_out`: a request's earnings are not what it cost; `recipient`: they went
   * to another account than that of the machine, or a fee to another than the platform's; `orphan`: earnings without a
   * request.
   */
  kind: 'balance' | 'charged' | 'paid_out' | 'recipient' | 'orphan';
  /** An account; for the last three a request. */
  about: string;
  /** The first row that is wrong; absent where rows are missing. */
  seq?: number;
  stored: bigint;
  recomputed: bigint;
}

export interface Audit {
  accounts: { id: string; balance: bigint; withdrawable: bigint }[];
  ledgerRows: number;
  requests: number;
  /** Micro-USD set aside for requests that run, or that a crash cut off. */
  openHolds: { count: number; amount: bigint };
  discrepancies: Discrepancy[];
}

/** Computes all money again from the rows of a coordinator's database, of one moment, also while a coordinator writes to
 *  it. Nothing is changed.
 *  @throws DarkbloomError `config_invalid` for a file that is no such database, or of a newer version. */
export function auditBooks(path: string): Audit {
  return readDatabase(path, (books) => {
    refuseStrange(path, books.version);
    const { accounts, rows, wrong } = recomputeBalances(books);
    const [totals] = books.all(TOTALS).map((row) => Totals.parse(row));
    if (totals === undefined) throw new TypeError('A sum without GROUP BY has one row.');
    return {
      accounts,
      ledgerRows: rows,
      requests: totals.requests,
      openHolds: { count: totals.holds, amount: totals.held },
      discrepancies: [
        ...wrong,
        ...found(books, 'charged', CHARGED),
        ...found(books, 'paid_out', PAID_OUT),
        ...found(books, 'recipient', WRONG_RECIPIENTS),
        ...found(books, 'orphan', ORPHANS),
      ],
    };
  });
}

/** @throws DarkbloomError `config_invalid`. */
export function refuseStrange(path: string, version: number): void {
  if (version >= 1 && version <= MIGRATIONS.length) return;
  throw new DarkbloomError(
    'config_invalid',
    version === 0
      ? `${path} is no database of a coordinator.`
      : `${path} was written by a newer version (schema ${version}, this one knows ${MIGRATIONS.length}). Update the program.`,
  );
}

/** Row by row, so that books of any length are read in little memory. */
function recomputeBalances(books: DatabaseReader) {
  const accounts: Audit['accounts'] = [];
  const wrong: Discrepancy[] = [];
  let rows = 0;
  let isRight = true;
  for (const each of books.each('SELECT * FROM ledger ORDER BY account_id, seq')) {
    const row = LedgerRow.parse(each);
    let account = accounts.at(-1);
    if (account?.id !== row.accountId) {
      account = { id: row.accountId, balance: 0n, withdrawable: 0n };
      accounts.push(account);
      isRight = true;
    }
    Object.assign(account, balanceAfter(account, row.kind, row.amount));
    rows++;
    const [stored, recomputed] =
      account.balance === row.balanceAfter
        ? [row.withdrawableAfter, account.withdrawable]
        : [row.balanceAfter, account.balance];
    // The rows after a wrong one repeat its mistake: one line for each account.
    if (isRight && stored !== recomputed) {
      wrong.push({ kind: 'balance', about: row.accountId, seq: row.seq, stored, recomputed });
    }
    isRight &&= stored === recomputed;
  }
  return { accounts, rows, wrong };
}

const Totals = z.object({ requests: wholeNumber, holds: wholeNumber, held: z.bigint() });
const TOTALS = `
SELECT (SELECT count(*) FROM usage) AS requests, (SELECT count(*) FROM open_holds) AS holds,
  (SELECT coalesce(sum(amount), 0) FROM open_holds) AS held`;

const Found = z.object({ about: z.string(), stored: z.bigint(), recomputed: z.bigint() });

function found(books: DatabaseReader, kind: Discrepancy['kind'], sql: string): Discrepancy[] {
  return books.all(sql).map((row) => ({ kind, ...Found.parse(row) }));
}

/** What left an account and did not come back, beside what its requests cost and what is on hold. */
const CHARGED = `
WITH paid AS (
  SELECT account_id, -sum(amount_micro_usd) AS amount FROM ledger WHERE kind IN ('charge', 'refund') GROUP BY account_id
), owed AS (
  SELECT account_id, sum(amount) AS amount FROM (
    SELECT account_id, cost_micro_usd AS amount FROM usage UNION ALL SELECT account_id, amount FROM open_holds
  ) GROUP BY account_id
)
SELECT accounts.account_id AS about, coalesce(paid.amount, 0) AS stored, coalesce(owed.amount, 0) AS recomputed
FROM (SELECT account_id FROM paid UNION SELECT account_id FROM owed) AS accounts
LEFT JOIN paid ON paid.account_id = accounts.account_id
LEFT JOIN owed ON owed.account_id = accounts.account_id
WHERE coalesce(paid.amount, 0) <> coalesce(owed.amount, 0) ORDER BY about`;

const EARNED = `earned AS (
  SELECT reference, sum(amount_micro_usd) AS amount FROM ledger WHERE kind IN ('payout', 'platform_fee') GROUP BY reference
)`;

const PAID_OUT = `
WITH ${EARNED}
SELECT request_id AS about, coalesce(amount, 0) AS stored, cost_micro_usd AS recomputed
FROM usage LEFT JOIN earned ON reference = request_id
WHERE coalesce(amount, 0) <> cost_micro_usd ORDER BY about`;

const WRONG_RECIPIENTS = `
SELECT request_id AS about, sum(amount_micro_usd) AS stored, 0 AS recomputed
FROM ledger JOIN usage ON request_id = reference
WHERE (kind = 'payout' AND ledger.account_id <> provider_account_id)
  OR (kind = 'platform_fee' AND ledger.account_id <> '${PLATFORM_ACCOUNT}')
GROUP BY request_id ORDER BY about`;

const ORPHANS = `
WITH ${EARNED}
SELECT reference AS about, amount AS stored, 0 AS recomputed
FROM earned WHERE reference NOT IN (SELECT request_id FROM usage) ORDER BY about`;
