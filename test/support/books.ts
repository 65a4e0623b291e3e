import { z } from 'zod';
import { auditBooks } from '../../src/coordinator/audit.js';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Database, readDatabase } from '../../src/database.js';

/** What is wrong with a coordinator's books when nothing runs, by sums made here from the rows of the file. All machines
 *  ask the platform's price and nothing goes to the platform. `answered`: the requests that got a whole answer, or whose
 *  client left before its end. */
export function booksWrong(path: string, answered: ReadonlySet<string>): string[] {
  const database = new Database(path, MIGRATIONS);
  try {
    const number = (sql: string) => z.object({ number: z.bigint() }).parse(database.get(sql)).number;
    const cost = number('SELECT coalesce(sum(cost_micro_usd), 0) AS number FROM usage');
    const paid = number(
      "SELECT coalesce(-sum(amount_micro_usd), 0) AS number FROM ledger WHERE kind IN ('charge', 'refund')",
    );
    const earned = number("SELECT coalesce(sum(amount_micro_usd), 0) AS number FROM ledger WHERE kind = 'payout'");
    const open = number('SELECT count(*) AS number FROM open_holds');
    const wrongBalances = number(
      `SELECT count(*) AS number FROM ledger AS last
       WHERE seq = (SELECT max(seq) FROM ledger WHERE account_id = last.account_id)
         AND balance_after <> (SELECT sum(amount_micro_usd) FROM ledger WHERE account_id = last.account_id)`,
    );
    const foreign = number(
      "SELECT count(*) AS number FROM usage WHERE route_mode = 'self' AND provider_account_id <> account_id",
    );
    const notFree = number('SELECT count(*) AS number FROM usage WHERE free_self_route = 1 AND cost_micro_usd <> 0');
    const Row = z.object({ request_id: z.string() });
    const charged = database.all('SELECT request_id FROM usage').map((row) => Row.parse(row).request_id);
    const withoutAnswer = charged.filter((id) => !answered.has(id));
    return [
      ...(paid === cost ? [] : [`${paid} was paid for answers that cost ${cost}`]),
      ...(earned === cost ? [] : [`${earned} was earned with answers that cost ${cost}`]),
      ...(open === 0n ? [] : [`${open} holds are open`]),
      ...(wrongBalances === 0n ? [] : [`${wrongBalances} balances are not the sum of their rows`]),
      ...(foreign === 0n ? [] : [`${foreign} requests for own machines were served elsewhere`]),
      ...(notFree === 0n ? [] : [`${notFree} free requests were charged`]),
      ...(withoutAnswer.length === 0 ? [] : [`${withoutAnswer.length} requests were charged without an answer`]),
      ...auditBooks(path).discrepancies.map(({ kind, about }) => `${kind} of ${about} does not follow from the rows`),
    ];
  } finally {
    database.close();
  }
}

/** Ids of all requests in the books. */
export function settledRequests(path: string): string[] {
  const Row = z.object({ request_id: z.string() });
  return readDatabase(path, (books) =>
    books.all('SELECT request_id FROM usage').map((row) => Row.parse(row).request_id),
  );
}
