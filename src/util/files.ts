import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';

const PRIVATE_FILE = 0o600;
const PRIVATE_FOLDER = 0o700;

export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: PRIVATE_FOLDER });
}

/** Writes aside with mode 0600, syncs, renames into place: readers see the old file or the whole new one. */
export function writePrivateFile(path: string, text: string): void {
  makePrivateFolder(dirname(path));
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = openSync(aside, 'wx', PRIVATE_FILE);
    try {
      writeSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
}

/** Removes what `writePrivateFile` left beside `path` when the process was killed inside it. */
export function removeAsides(path: string): void {
  const folder = dirname(path);
  if (!existsSync(folder)) return;
  const isAside = (name: string) => name.startsWith(`${basename(path)}.`) && name.endsWith('.tmp');
  for (const name of readdirSync(folder).filter(isAside)) rmSync(join(folder, name), { force: true });
}

/** Writes a file (0600) that was not there. What is there stays; a write that fails leaves nothing.
 *  @throws the system's `EEXIST` when it is there. */
export function writeNewPrivateFile(path: string, text: string): void {
  const file = openSync(path, 'wx', PRIVATE_FILE);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** The text of a file, `undefined` when there is none. */
export function readFileIfPresent(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/** The secret in a 0600 file, made anew when there is none or it is not valid any more. */
export function keptSecret(path: string, isValid: (secret: string) => boolean, make: () => string): string {
  const kept = readFileIfPresent(path)?.trim();
  if (kept !== undefined && kept !== '' && isValid(kept)) return kept;
  const secret = make();
  writePrivateFile(path, `${secret}\n`);
  return secret;
}

/** Waits until a file, or the names in a folder, are on the disk. */
export function syncPath(path: string): void {
  const opened = openSync(path, 'r');
  try {
    fsyncSync(opened);
  } finally {
    closeSync(opened);
  }
}
