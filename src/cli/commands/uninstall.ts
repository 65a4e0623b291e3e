import { existsSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { environment, findHome, type Home } from '../../config.js';
import { openBooks } from '../../coordinator/books.js';
import { formatUsd } from '../../coordinator/billing.js';
import { DarkbloomError } from '../../errors.js';
import { inWords } from '../../models/byte-words.js';
import { readDiscovery } from '../../service/discovery.js';
import { agentHere, reportOutcome } from '../agent-here.js';
import { confirm } from '../confirm.js';
import { print, printDone, style } from '../style.js';
import { uninstallPaths } from '../uninstall-paths.js';

interface UninstallFlags {
  dryRun?: true;
  keepData?: true;
  yes?: true;
}

export function uninstallCommand(): Command {
  return new Command('uninstall')
    .description('remove what this program made on this machine: the service, its logs and its home')
    .option('--dry-run', 'only list what would be removed')
    .option('--keep-data', 'keep the home: models, settings, keys, accounts and balances')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nFiles of other applications that were adopted stay. The program itself: npm uninstall --global darkbloom-provider',
    )
    .action(uninstall);
}

async function uninstall({ dryRun, keepData, yes }: UninstallFlags): Promise<void> {
  const home = findHome(environment);
  const agent = agentHere(home);
  const paths = uninstallPaths(home, agent?.files ?? [], keepData === true);
  const present = paths.filter((path) => existsSync(path));
  if (present.length === 0) {
    print('There is nothing of this program here.');
    return;
  }
  print('To be removed:');
  for (const path of present) print(`  ${path}  ${style.dim(inWords(sizeOfTree(path)))}`);
  if (keepData !== true) printBooks(home);
  if (dryRun === true) return;
  if (agent === undefined) refuseWhileRunning(home);
  if (yes !== true) await confirm('Remove all of it?');
  if (agent !== undefined) reportOutcome(await agent.uninstall());
  refuseWhileRunning(home); // one in somebody's terminal beside the service
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
function printBooks(home: Home): void {
  if (!existsSync(home.database)) return;
  const books = booksIfReadable(home.database);
  if (books === undefined) {
    print(`${style.yellow('books')}: ${home.database} cannot be read; whatever balances it holds are deleted with it.`);
    return;
  }
  const { accounts, keys } = books;
  for (const { name, balance } of accounts) {
    if (balance !== 0n) print(`${style.yellow('balance')} of ${name}: ${formatUsd(balance)} USD is deleted with it.`);
  }
  if (keys > 0) print(`${style.yellow('keys')}: ${keys} API keys of this coordinator stop working.`);
  print('Keep them with --keep-data.');
}

function booksIfReadable(path: string): ReturnType<typeof openBooks> | undefined {
  try {
    return openBooks(path);
  } catch (error) {
    if (error instanceof DarkbloomError) return undefined;
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

/** @throws DarkbloomError `already_running`. */
function refuseWhileRunning(home: Home): void {
  const running = readDiscovery(home.discovery);
  if (running === undefined) return;
  throw new DarkbloomError(
    'already_running',
    `A daemon runs (process ${running.pid}). Stop it first: darkbloom-provider stop`,
  );
}

function sizeOfTree(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory() !== true) return stat?.size ?? 0;
  return readdirSync(path).reduce((sum, name) => sum + sizeOfTree(join(path, name)), 0);
}
