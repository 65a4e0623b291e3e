import { appendFileSync, closeSync, fstatSync, openSync, readSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { LOG_FILE, LOG_FILES } from '../log.js';
import type { Clock } from '../util/clock.js';
import { rotatedPath } from '../util/rotating-file.js';
import { LAUNCHD_LOG_FILE } from './agent-plist.js';

/** launchd never shortens the file that it gives the service for its output. */
export const MAX_LAUNCHD_LOG_BYTES = 2 * 1024 * 1024;
/** What stays of it: the last failures. */
const LAUNCHD_LOG_TAIL_BYTES = 64 * 1024;

const READ_BYTES = 64 * 1024;
const LOOK_EVERY_MS = 250;
/** Files may be renamed while they are listed. */
const MAX_LISTINGS = 5;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** pino's numbers. */
const LEVELS: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 };

/** A line of the service's log, with whatever facts it has. */
export const LogLine = z.looseObject({
  level: z.number().describe('20 debug, 30 info, 40 warn, 50 error, 60 fatal'),
  time: z.iso.datetime().describe('When it was written'),
  msg: z.string().optional().describe('A short constant sentence; the facts stand beside it'),
});
export type LogLine = z.infer<typeof LogLine>;

export interface LogFilter {
  /** Ms since the epoch. */
  since?: number;
  minimumLevel?: LogLevel;
}

interface Following {
  clock: Clock;
  /** Ends the iteration. */
  signal: AbortSignal;
}

/** The lines of the service's log in a folder, the oldest first. With `following` it goes on with the lines that come,
 *  over rotations; without, it ends with the last one. What is no line of the log is left out. */
export async function* logLines(
  folder: string,
  filter: LogFilter,
  following?: Following,
): AsyncGenerator<LogLine, void, void> {
  const files = new LogFiles(join(folder, LOG_FILE));
  try {
    for (;;) {
      for (const text of files.readOn()) {
        const line = parseLine(text);
        if (line !== undefined && isWanted(line, filter)) yield line;
        if (following?.signal.aborted === true) return;
      }
      if (following === undefined) return;
      await pause(following);
      if (following.signal.aborted) return;
    }
  } finally {
    files.close();
  }
}

function parseLine(text: string): LogLine | undefined {
  try {
    return LogLine.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function isWanted({ level, time }: LogLine, { since = -Infinity, minimumLevel = 'debug' }: LogFilter): boolean {
  return level >= LEVELS[minimumLevel] && Date.parse(time) >= since;
}

/** Until the next look, or the signal. */
function pause({ clock, signal }: Following): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      timer[Symbol.dispose]();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.after(LOOK_EVERY_MS, done);
    if (signal.aborted) done();
    else signal.addEventListener('abort', done);
  });
}

interface ListedFile {
  path: string;
  inode: number;
}

/** Reads a rotated set of files as one, from the oldest on. A file is known by its inode: its name changes. */
class LogFiles {
  readonly #path: string;
  #open: { descriptor: number; inode: number; offset: number } | undefined;
  /** The beginning of a line whose end is not written yet. */
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  /** The lines that came since the last call. */
  *readOn(): Generator<string, void, void> {
    for (;;) {
      yield* this.#readOpen();
      const next = this.#next();
      if (next === undefined) return;
      // It was full before the next one was begun, but perhaps not before it was read.
      yield* this.#readOpen();
      this.#begin(next);
    }
  }

  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.descriptor);
    this.#open = undefined;
    this.#rest = Buffer.alloc(0);
  }

  *#readOpen(): Generator<string, void, void> {
    const file = this.#open;
    if (file === undefined) return;
    if (fstatSync(file.descriptor).size < file.offset) {
      file.offset = 0; // someone emptied it
      this.#rest = Buffer.alloc(0);
    }
    const buffer = Buffer.alloc(READ_BYTES);
    for (;;) {
      const count = readSync(file.descriptor, buffer, 0, READ_BYTES, file.offset);
      if (count === 0) return;
      file.offset += count;
      const bytes = Buffer.concat([this.#rest, buffer.subarray(0, count)]);
      const end = bytes.lastIndexOf('\n') + 1;
      this.#rest = bytes.subarray(end);
      yield* bytes.toString('utf8', 0, end).split('\n').slice(0, -1);
    }
  }

  /** The file after the open one; the oldest when none is open, or when the open one is not among them any more. */
  #next(): ListedFile | undefined {
    const files = this.#list();
    const at = files.findIndex(({ inode }) => inode === this.#open?.inode);
    return files[at + 1];
  }

  /** Goes over to a file, unless its name has gone to another one this moment: then the next listing tells. */
  #begin({ path, inode }: ListedFile): void {
    let descriptor: number;
    try {
      descriptor = openSync(path, 'r');
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return;
      throw new DarkbloomError('config_invalid', `${path} cannot be read. Check that it is your file.`, { cause });
    }
    if (fstatSync(descriptor).ino !== inode) {
      closeSync(descriptor);
      return;
    }
    this.close();
    this.#open = { descriptor, inode, offset: 0 };
  }

  /** The oldest first; the same twice in a row, because a rotation may pass by. */
  #list(): ListedFile[] {
    let listed = this.#listOnce();
    for (let listing = 1; listing < MAX_LISTINGS; listing++) {
      const again = this.#listOnce();
      const isSame = JSON.stringify(again) === JSON.stringify(listed);
      listed = again;
      if (isSame) break;
    }
    return listed;
  }

  #listOnce(): ListedFile[] {
    const files: ListedFile[] = [];
    for (let age = LOG_FILES - 1; age >= 0; age--) {
      const path = rotatedPath(this.#path, age);
      const found = statSync(path, { throwIfNoEntry: false });
      if (found !== undefined) files.push({ path, inode: found.ino });
    }
    return files;
  }
}

/** Shortens launchd's own file of the service to its last part when it has grown too long. launchd appends to it, so
 *  this is safe while the service runs. Never throws: the service starts also where its log cannot be changed. */
export function trimLaunchdLog(folder: string): void {
  const path = join(folder, LAUNCHD_LOG_FILE);
  try {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= MAX_LAUNCHD_LOG_BYTES) return;
    const tail = Buffer.alloc(LAUNCHD_LOG_TAIL_BYTES);
    const descriptor = openSync(path, 'r');
    const count = readSync(descriptor, tail, 0, tail.length, size - tail.length);
    closeSync(descriptor);
    truncateSync(path);
    appendFileSync(path, tail.subarray(tail.indexOf('\n') + 1, count));
  } catch {
    // A log that cannot be shortened is no reason not to start.
  }
}
