import { closeSync, fchmodSync, fstatSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { makePrivateFolder } from './files.js';

const PRIVATE_FILE = 0o600;
const NEWLINE = 0x0a;

interface RotationBounds {
  /** No file grows beyond this; a line that is longer by itself is not kept. */
  maxFileBytes: number;
  /** The file that is written and the older ones together, at least 2. */
  files: number;
}

/** The path of an older file: `service.log` → `service.3.log`; age 0 is the file that is written. */
export function rotatedPath(path: string, age: number): string {
  return age === 0 ? path : path.replace(/(\.[^./]*)?$/u, (extension) => `.${age}${extension}`);
}

/**
 * A file of whole lines that never holds more than its bounds: `x.log` is written, `x.1.log` is the one before, and so
 * on. A line that cannot be written (a full disk, a folder that is gone) is lost and counted; it is never an error of
 * the writer. Another process may write, rotate or delete the same files: the path is looked at before each line.
 */
export class RotatingFile {
  readonly #path: string;
  readonly #bounds: RotationBounds;
  readonly #lossNote: (lost: number) => string;
  #file: { descriptor: number; inode: number } | undefined;
  /** The last write ended inside a line. */
  #torn = false;
  #lost = 0;

  /** `lossNote` makes the line that tells how many were lost, once lines can be written again. */
  constructor(path: string, bounds: RotationBounds, lossNote: (lost: number) => string) {
    this.#path = path;
    this.#bounds = bounds;
    this.#lossNote = lossNote;
  }

  /** Appends one line, its newline included. Never throws. */
  write(line: string): void {
    try {
      if (this.#lost > 0) {
        this.#append(this.#lossNote(this.#lost));
        this.#lost = 0;
      }
      this.#append(line);
    } catch {
      this.#lost++;
    }
  }

  close(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file.descriptor);
    this.#file = undefined;
  }

  #append(line: string): void {
    const size = Buffer.byteLength(line) + 1; // one for the end of a torn line
    if (size > this.#bounds.maxFileBytes) throw new RangeError('a line longer than a whole file');
    const present = statSync(this.#path, { throwIfNoEntry: false });
    if (present?.ino !== this.#file?.inode) this.close();
    if (present !== undefined && present.size + size > this.#bounds.maxFileBytes) this.#rotate();
    const { descriptor } = (this.#file ??= this.#open());
    const bytes = Buffer.from(this.#torn ? `\n${line}` : line, 'utf8');
    for (let written = 0; written < bytes.length;) {
      const added = writeSync(descriptor, bytes, written);
      written += added;
      this.#torn = bytes[written - 1] !== NEWLINE;
    }
  }

  #open(): { descriptor: number; inode: number } {
    makePrivateFolder(dirname(this.#path));
    const descriptor = openSync(this.#path, 'a+', PRIVATE_FILE);
    fchmodSync(descriptor, PRIVATE_FILE); // it may be an older file with another mode
    const { ino, size } = fstatSync(descriptor);
    const last = Buffer.alloc(1);
    this.#torn = size > 0 && readSync(descriptor, last, 0, 1, size - 1) === 1 && last[0] !== NEWLINE;
    return { descriptor, inode: ino };
  }

  #rotate(): void {
    this.close();
    const oldest = this.#bounds.files - 1;
    rmSync(rotatedPath(this.#path, oldest), { force: true });
    for (let age = oldest - 1; age >= 0; age--) {
      if (statSync(rotatedPath(this.#path, age), { throwIfNoEntry: false }) === undefined) continue;
      renameSync(rotatedPath(this.#path, age), rotatedPath(this.#path, age + 1));
    }
  }
}
