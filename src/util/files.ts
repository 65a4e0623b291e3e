import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
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
      writeFileSync(file, text);
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

/** What `writePrivateFile` left beside `path` when the process was killed inside it. */
export function asidesOf(path: string): string[] {
  const folder = dirname(path);
  if (!existsSync(folder)) return [];
  const isAside = (name: string) => name.startsWith(`${basename(path)}.`) && name.endsWith('.tmp');
  return readdirSync(folder)
    .filter(isAside)
    .map((name) => join(folder, name));
}

export function removeAsides(path: string): void {
  for (const aside of asidesOf(path)) rmSync(aside, { force: true });
}

/** Writes a file (0600) that was not there. What is there stays; a write that fails leaves nothing.
 *  @throws the system's `EEXIST` when it is there. */
export function writeNewPrivateFile(path: string, text: string): void {
  const file = openSync(path, 'wx', PRIVATE_FILE);
  try {
    writeFileSync(file, text);
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

/** A folder itself, not a link to one. */
export function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Bytes of a file, or of all that is in a folder. A link counts itself, not what it leads to. */
export function sizeOfTree(path: string): number {
  if (!isFolder(path)) return lstatSync(path, { throwIfNoEntry: false })?.size ?? 0;
  return readdirSync(path).reduce((sum, name) => sum + sizeOfTree(join(path, name)), 0);
}
