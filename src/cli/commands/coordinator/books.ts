import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { environment, findHome } from '../../../config.js';
import { auditBooks, type Audit } from '../../../coordinator/audit.js';
import { backUpBooks, restoreBooks } from '../../../coordinator/backups.js';
import { formatUsd } from '../../../coordinator/billing.js';
import { refuseSecondDaemon } from '../../../service/discovery.js';
import { printJson, SchemaVersion } from '../../json-output.js';
import { print, printDone, style } from '../../style.js';

/** The books are wrong: their operator must act. */
const WRONG_EXIT = 65;

export const AuditOutput = z.strictObject({
  schema_version: SchemaVersion,
  file: z.string().describe('The database that was read'),
  exact: z.boolean().describe('Every balance follows from the rows, to the micro-dollar'),
  accounts: z.int().describe('Accounts with any row, the one that fees go to among them'),
  ledger_rows: z.int().describe('Rows of the ledger'),
  requests: z.int().describe('Completed requests'),
  open_holds: z
    .strictObject({
      count: z.int().describe('Requests that run, or that a crash cut off'),
      usd: z.string().describe('What is set aside for them, USD, exact'),
    })
    .describe('Holds that are neither settled nor given back'),
  total_usd: z.string().describe('What all accounts have together, USD, exact'),
  discrepancies: z
    .array(
      z.strictObject({
        kind: z
          .enum(['balance', 'charged', 'paid_out', 'recipient', 'orphan'])
          .describe(
            '`balance`: a row does not add up; `charged`: an account paid other than its requests cost; ' +
              "`paid_out`: a request's earnings are not its cost; `recipient`: they went to a wrong account; `orphan`: earnings without a request",
          ),
        about: z.string().describe('Id of the account, or of the request'),
        seq: z.int().optional().describe('The first row of the ledger that is wrong'),
        stored_micro_usd: z.string().describe('What the books say, micro-USD'),
        recomputed_micro_usd: z.string().describe('What follows from the rows, micro-USD'),
      }),
    )
    .describe('What does not follow from the rows; exit code 65 when there is any'),
});
export type AuditOutput = z.infer<typeof AuditOutput>;

/** audit, backup, restore: on the file, whether a coordinator runs or not. */
export function addBooksCommands(coordinator: Command): void {
  coordinator
    .command('audit')
    .description('compute every balance again from the rows; exit code 65 if one micro-dollar is wrong')
    .argument('[file]', 'a backup; none: the books of this home, also while the coordinator runs')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Nothing is changed.

Examples:
  $ darkbloom-provider coordinator audit
  $ darkbloom-provider coordinator audit /Volumes/backup/books.db --json`,
    )
    .action(audit);
  coordinator
    .command('backup')
    .description('write a copy of the books, of one moment, also while the coordinator runs')
    .argument('<file>', 'must not exist')
    .addHelpText(
      'after',
      `
The copy holds balances, names of accounts, and hashes of keys and tokens; no prompts. It is audited before it gets its
name, and readable for you alone.

Example:
  $ darkbloom-provider coordinator backup "/Volumes/backup/books-$(date +%F).db"`,
    )
    .action(backup);
  coordinator
    .command('restore')
    .description('put a backup in the place of the books, while nothing runs')
    .argument('<file>', 'what `coordinator backup` wrote')
    .addHelpText(
      'after',
      `
The books that were there are kept as coordinator.before-restore.db in the home. What happened after the backup is not in
it: balances, accounts, keys and links are those of its moment.

Example:
  $ darkbloom-provider stop
  $ darkbloom-provider coordinator restore /Volumes/backup/books-2026-11-22.db`,
    )
    .action(restore);
}

function audit(file: string | undefined, { json }: { json?: true }): void {
  const path = file === undefined ? findHome(environment).database : resolve(file);
  const found = auditBooks(path);
  if (found.discrepancies.length > 0) process.exitCode = WRONG_EXIT;
  if (json === true) {
    printJson<AuditOutput>(outputOf(path, found));
    return;
  }
  printAudit(found);
}

function outputOf(file: string, { accounts, ledgerRows, requests, openHolds, discrepancies }: Audit): AuditOutput {
  return {
    schema_version: 1,
    file,
    exact: discrepancies.length === 0,
    accounts: accounts.length,
    ledger_rows: ledgerRows,
    requests,
    open_holds: { count: openHolds.count, usd: formatUsd(openHolds.amount) },
    total_usd: formatUsd(accounts.reduce((sum, { balance }) => sum + balance, 0n)),
    discrepancies: discrepancies.map(({ kind, about, seq, stored, recomputed }) => ({
      kind,
      about,
      ...(seq === undefined ? {} : { seq }),
      stored_micro_usd: String(stored),
      recomputed_micro_usd: String(recomputed),
    })),
  };
}

function printAudit(found: Audit): void {
  const { accounts, ledgerRows, requests, openHolds, discrepancies } = found;
  const total = accounts.reduce((sum, { balance }) => sum + balance, 0n);
  const holds = openHolds.count === 0 ? 'none on hold' : `${openHolds.count} on hold ($${formatUsd(openHolds.amount)})`;
  const read = `${counted(accounts.length, 'account')}, ${counted(ledgerRows, 'row')}, ${counted(requests, 'request')}, ${holds}`;
  if (discrepancies.length === 0) {
    printDone(`Exact: ${read}. Together the accounts have $${formatUsd(total)}.`);
    return;
  }
  print(`${style.red('wrong')} ${read}.`);
  for (const { kind, about, seq, stored, recomputed } of discrepancies) {
    const where = seq === undefined ? about : `${about}, row ${seq}`;
    print(`  ${kind.padEnd(9)} ${where}: $${formatUsd(stored)} in the books, $${formatUsd(recomputed)} from the rows`);
  }
  print('Stop the coordinator, keep a copy of the file, and go back to a backup that audits as exact.');
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function backup(file: string): void {
  const home = findHome(environment);
  const target = resolve(file);
  const { ledgerRows, requests } = backUpBooks(home.database, target);
  printDone(`${target}: ${counted(ledgerRows, 'row')}, ${counted(requests, 'request')}, audited.`);
}

async function restore(file: string): Promise<void> {
  const home = findHome(environment);
  await refuseSecondDaemon(home.discovery);
  const had = existsSync(home.database);
  const { ledgerRows, requests } = restoreBooks(resolve(file), home.database, home.databaseSetAside);
  printDone(`Restored: ${counted(ledgerRows, 'row')}, ${counted(requests, 'request')}, audited.`);
  if (had) print(`The books that were there: ${home.databaseSetAside}`);
}
