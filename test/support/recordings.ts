import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Outputs recorded on Macs. They are not part of this repository; where they lie beside it, they are read in place. */
const RECORDINGS = new URL('../../../shared/fixtures/macos/', import.meta.url);

export const hasRecordings = existsSync(RECORDINGS);

const read = new Set<string>();

export function recorded(path: string): string {
  read.add(path);
  return readFileSync(new URL(path, RECORDINGS), 'utf8');
}

/** Every recording of a folder that belongs to one tool, so that a new one cannot go unread. */
export function recordingsOf(folder: string, pattern: RegExp): string[] {
  return readdirSync(new URL(`${folder}/`, RECORDINGS))
    .filter((file) => pattern.test(file))
    .sort();
}

/** Every recording there is, and those that this test file has read so far. */
export function recordingsRead(): { all: string[]; read: ReadonlySet<string> } {
  const all = readdirSync(RECORDINGS, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'README.md')
    .map((entry) => `${entry.parentPath.split('/').at(-1) ?? ''}/${entry.name}`);
  return { all: all.sort(), read };
}
