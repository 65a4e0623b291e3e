import { resolve } from 'node:path';
import { DarkbloomError } from '../../../errors.js';
import { inWords } from '../../../util/byte-words.js';
import { findLeftovers, removeLeftovers, type Leftover } from '../../../models/prune.js';
import { systemClock } from '../../../util/clock.js';
import { confirm } from '../../confirm.js';
import { printJson } from '../../json-output.js';
import type { ModelsPruneOutput } from '../../models-output.js';
import { print, printDone, style } from '../../style.js';
import { here } from './here.js';

interface PruneFlags {
  dryRun?: true;
  json?: true;
  yes?: true;
}

/** Removes what no longer serves, after it was shown. */
export async function prune({ dryRun, json, yes }: PruneFlags): Promise<void> {
  if (json === true && dryRun !== true) throw new DarkbloomError('usage', '--json goes with --dry-run.');
  const { home, settings, models } = here();
  const options = {
    catalog: models,
    homeFolder: home.folder,
    ownFiles: Object.values(settings.models.files).map((path) => resolve(path)),
    now: systemClock.now(),
  };
  const { found, busy } = findLeftovers(options);
  const totalBytes = bytesOf(found);
  if (json === true) {
    const leftovers = found.map(({ path, sizeBytes, kind, reason }) => ({ path, size_bytes: sizeBytes, kind, reason }));
    printJson<ModelsPruneOutput>({ schema_version: 1, leftovers, total_bytes: totalBytes, busy });
    return;
  }
  for (const { path, pid } of busy) print(`${style.yellow('left alone')} ${path}: process ${pid} downloads to it`);
  if (found.length === 0) {
    print('There is nothing to remove.');
    return;
  }
  print('To be removed:');
  for (const { path, sizeBytes, reason } of found) print(`  ${path}  ${inWords(sizeBytes)}  ${style.dim(reason)}`);
  print(`Together ${inWords(totalBytes)}.`);
  if (dryRun === true) return;
  if (yes !== true) await confirm(`Remove ${found.length === 1 ? 'it' : `all ${found.length}`}?`);
  const removed = removeLeftovers(found, options);
  printDone(`Removed ${removed.length}, ${inWords(bytesOf(removed))}.`);
}

function bytesOf(leftovers: readonly Leftover[]): number {
  return leftovers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
