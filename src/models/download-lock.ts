import { randomBytes } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { isAlive } from '../util/processes.js';

/** Takes the right to download one file; disposing gives it back. The lock of a process that has ended is taken over.
 *  @throws DarkbloomError `already_running` while another process, or this one, downloads the file. */
export function lockDownload(path: string): Disposable {
  const ours = `${process.pid} ${randomBytes(8).toString('hex')}\n`;
  if (!created(path, ours)) {
    removeStale(path);
    if (!created(path, ours)) throw busy(path);
  }
  return {
    [Symbol.dispose]: () => {
      if (textOf(path) === ours) rmSync(path, { force: true });
    },
  };
}

/** The process that downloads a file at this moment, by its lock. */
export function downloaderOf(path: string): number | undefined {
  const text = textOf(path);
  return text !== undefined && isHeld(path, text) ? Number(text.split(' ')[0]) : undefined;
}

/** Written aside and linked into place: nobody ever reads half a lock. */
function created(path: string, text: string): boolean {
  const aside = asideOf(path);
  writeFileSync(aside, text, { mode: 0o600 });
  try {
    linkSync(aside, path);
    return true;
  } catch (error) {
    // ENOENT: who has the lock tidied up
    if (['EEXIST', 'ENOENT'].includes(systemErrorCode(error) ?? '')) return false;
    throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function asideOf(path: string): string {
  return `${path}.${randomBytes(6).toString('hex')}.tmp`;
}

/** Two may find the same stale lock. Renaming lets one of them have it; who got a living one by it gives it back. */
function removeStale(path: string): void {
  const found = textOf(path);
  if (found === undefined) return;
  if (isHeld(path, found)) throw busy(path);
  const aside = asideOf(path);
  try {
    renameSync(path, aside);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    if (textOf(aside) !== found) linkSync(aside, path);
  } finally {
    rmSync(aside, { force: true });
  }
}

function isHeld(path: string, text: string): boolean {
  const pid = Number(text.split(' ')[0]);
  const writtenAt = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const bootedAt = Date.now() - uptime() * 1000;
  return Number.isInteger(pid) && pid > 0 && writtenAt >= bootedAt && isAlive(pid);
}

function busy(path: string): DarkbloomError {
  const pid = textOf(path)?.split(' ')[0] ?? 'unknown';
  return new DarkbloomError(
    'already_running',
    `Another process (pid ${pid}) is downloading this file. Wait for it, or stop it and run this again: what it has ` +
      'fetched is kept.',
  );
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
