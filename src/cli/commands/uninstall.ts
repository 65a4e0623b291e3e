import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { Command } from 'commander';
import { z } from 'zod';
import { environment, findHome, type Home } from '../../config.js';
import { openBooks } from '../../coordinator/books.js';
import { formatUsd } from '../../coordinator/billing.js';
import { DarkbloomError } from '../../errors.js';
import { inWords } from '../../util/byte-words.js';
import { answeringDaemon } from '../../service/discovery.js';
import { sizeOfTree } from '../../util/files.js';
import { agentHere, reportOutcome } from '../agent-here.js';
import { askStatusIfRunning } from '../control-client.js';
import { confirm } from '../confirm.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { print, printDone, style } from '../style.js';
import { uninstallPaths } from '../uninstall-paths.js';

/** Of `--dry-run`. */
export const UninstallOutput = z.strictObject({
  schema_version: SchemaVersion,
  paths: z
    .array(
      z.strictObject({
        path: z.string().describe('A file or a folder'),
        size_bytes: z.number().describe('With all that is in it'),
      }),
    )
    .describe('What would be removed'),
  books: z
    .strictObject({
      readable: z.boolean().describe('False: nobody knows what it holds'),
      balances: z
        .array(
          z.strictObject({
            name: z.string().describe('Account'),
            balance_usd: z.string().describe('What it has, USD, exact'),
          }),
        )
        .describe('Accounts that have money, or owe some'),
      keys: z.int().describe('API keys that would stop working'),
    })
    .optional()
    .describe("The coordinator's books, where they would be deleted"),
});
type UninstallOutput = z.infer<typeof UninstallOutput>;

interface UninstallFlags {
  dryRun?: true;
  keepData?: true;
  yes?: true;
  json?: true;
}

export function uninstallCommand(): Command {
  return new Command('uninstall')
    .description('remove what this program made on this machine: the service, its logs and its home')
    .option('--dry-run', 'only list what would be removed')
    .option('--keep-data', 'keep the home: models, settings, keys, accounts and balances')
    .option('--yes', 'do not ask')
    .option('--json', 'with --dry-run: one JSON object')
    .addHelpText(
      'after',
      `
Files of other applications that were adopted stay. The program itself: npm uninstall --global darkbloom-provider

Examples:
  $ darkbloom-provider uninstall --dry-run
  $ darkbloom-provider uninstall --keep-data`,
    )
    .action(uninstall);
}

async function uninstall({ dryRun, keepData, yes, json }: UninstallFlags): Promise<void> {
  if (json === true && dryRun !== true) throw new DarkbloomError('usage', '--json is for --dry-run.');
  const home = findHome(environment);
  const agent = agentHere(home);
  const paths = uninstallPaths(home, agent?.files ?? [], keepData === true);
  const present = paths.filter((path) => existsSync(path));
  const doomed: UninstallOutput = {
    schema_version: 1,
    paths: present.map((path) => ({ path, size_bytes: sizeOfTree(path) })),
    ...(keepData !== true && existsSync(home.database) ? { books: booksOf(home.database) } : {}),
  };
  if (json === true) {
    printJson<UninstallOutput>(doomed);
    return;
  }
  if (present.length === 0) {
    if (dryRun !== true) removeIfEmpty(home.folder); // a check may have made it
    print('There is nothing of this program here.');
    return;
  }
  print('To be removed:');
  for (const { path, size_bytes: size } of doomed.paths) print(`  ${path}  ${style.dim(inWords(size))}`);
  if (doomed.books !== undefined) printBooks(home, doomed.books);
  if (dryRun === true) return;
  if (agent === undefined) await refuseWhileRunning(home);
  if (yes !== true) await confirm('Remove all of it?');
  if (agent !== undefined) reportOutcome(await agent.uninstall());
  await refuseWhileRunning(home); // one in somebody's terminal beside the service
  for (const path of paths) rmSync(path, { recursive: true, force: true });
  if (keepData !== true && !removeIfEmpty(home.folder)) {
    printDone(`Removed. ${home.folder} stays: it holds files that are not of this program.`);
    return;
  }
  printDone(
    keepData === true ? `Removed. ${home.folder} was kept.` : 'Removed. Nothing of it is left on this machine.',
  );
}

/** Money and keys that go with the home are named before they go. */
function printBooks(home: Home, { readable, balances, keys }: Books): void {
  if (!readable) {
    print(`${style.yellow('books')}: ${home.database} cannot be read; whatever balances it holds are deleted with it.`);
    return;
  }
  for (const { name, balance_usd: balance } of balances) {
    print(`${style.yellow('balance')} of ${name}: ${balance} USD is deleted with it.`);
  }
  if (keys === 1) print(`${style.yellow('keys')}: the API key of this coordinator stops working.`);
  else if (keys > 1) print(`${style.yellow('keys')}: ${keys} API keys of this coordinator stop working.`);
  print('Keep them with --keep-data.');
}

type Books = NonNullable<UninstallOutput['books']>;

function booksOf(path: string): Books {
  try {
    const { accounts, keys } = openBooks(path);
    const withMoney = accounts.filter(({ balance }) => balance !== 0n);
    const balances = withMoney.map(({ name, balance }) => ({ name, balance_usd: formatUsd(balance) }));
    return { readable: true, balances, keys };
  } catch (error) {
    if (error instanceof DarkbloomError) return { readable: false, balances: [], keys: 0 };
    throw error;
  }
}

/** False when something else is in it. */
function removeIfEmpty(folder: string): boolean {
  if (!existsSync(folder)) return true;
  if (readdirSync(folder).length > 0) return false;
  rmdirSync(folder);
  return true;
}

/** A coordinator alone has no control socket and is asked over HTTP.
 *  @throws DarkbloomError `already_running`, `timeout` for a daemon that does not answer. */
async function refuseWhileRunning(home: Home): Promise<void> {
  const running = (await askStatusIfRunning(home)) ?? (await answeringDaemon(home.discovery));
  if (running === undefined) return;
  throw new DarkbloomError(
    'already_running',
    `A daemon runs (process ${running.pid}). Stop it first: darkbloom-provider stop`,
  );
}
