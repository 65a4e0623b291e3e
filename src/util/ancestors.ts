import { execFileSync } from 'node:child_process';
import { every, type Clock } from './clock.js';
import { isAlive } from './processes.js';

const LOOK_EVERY_MS = 500;
/** Shells and npm between a person's command and this process. */
const MAX_ANCESTORS = 4;

/** Calls `gone` once when one of the processes that started this one has ended: whoever wanted the result is not there
 *  any more, even if a shell in between still waits. Only the ancestors up to npm are looked at. */
export function watchAncestors(clock: Clock, gone: () => void): Disposable {
  const watched = ancestors();
  const watch = every(clock, LOOK_EVERY_MS, () => {
    if (watched.every(isAlive)) return;
    watch[Symbol.dispose]();
    gone();
  });
  return watch;
}

/** The parent, and its parents as long as they belong to an `npm run`. */
function ancestors(): number[] {
  const found = [process.ppid];
  while (found.length < MAX_ANCESTORS) {
    const [parent, command] = parentOf(found.at(-1) ?? 1);
    if (parent <= 1 || !/npm/u.test(command)) break;
    found.push(parent);
  }
  return found.filter((pid) => pid > 1);
}

/** The parent of a process, and the parent's command line. */
function parentOf(pid: number): [number, string] {
  const ask = (field: string, of: number) =>
    execFileSync('/bin/ps', ['-o', `${field}=`, '-p', String(of)], { encoding: 'utf8' }).trim();
  try {
    const parent = Number(ask('ppid', pid));
    return [parent, parent > 1 ? ask('command', parent) : ''];
  } catch {
    return [0, ''];
  }
}
