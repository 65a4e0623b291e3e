import { lstatSync, readdirSync, realpathSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import type { CatalogFile, CatalogModel } from './catalog.js';
import { isFolder, sizeOfTree } from '../util/files.js';
import { downloaderOf, lockDownload } from './download-lock.js';
import { splitParts } from './gguf.js';
import { journalOf } from './part-file.js';
import { buildFolder, lockPlace, partPlace, readAdoptions, verifiedHash, verifiedPlace } from './places.js';

/** What lies in the `models` folder of a home and serves no more. */

/** A file written aside may still be renamed into its place by whoever writes it. */
const ASIDE_AGE_MS = 60_000;

/** One file, or a folder with all that is in it. */
export const LEFTOVER_KINDS = [
  'unfinished',
  'superseded',
  'not_in_catalogue',
  'unknown',
  'record_without_file',
] as const;
type LeftoverKind = (typeof LEFTOVER_KINDS)[number];

export interface Leftover {
  path: string;
  sizeBytes: number;
  kind: LeftoverKind;
  /** A sentence for the owner. */
  reason: string;
}

export interface Leftovers {
  found: Leftover[];
  /** Folders that a process downloads to now: nothing in them is looked at. */
  busy: { path: string; pid: number }[];
}

interface PruneOptions {
  catalog: readonly CatalogModel[];
  homeFolder: string;
  /** Files of `[models.files]`: they may lie here too. */
  ownFiles: readonly string[];
  /** Milliseconds since the Unix epoch. */
  now: number;
}

/** Looks, and changes nothing. Files of other applications are never in it; a link is looked at, never followed. */
export function findLeftovers(options: PruneOptions): Leftovers {
  const { catalog, homeFolder } = options;
  const models = join(homeFolder, 'models');
  const hosted = catalog.flatMap(({ builds }) => builds.filter(({ source }) => source !== 'package'));
  const builds = new Map(hosted.map((build) => [buildFolder(homeFolder, build.id), build.files]));
  const kept = new Keeper(options);
  const leftovers: Leftovers = { found: [], busy: [] };
  for (const path of entriesIn(models)) {
    const files = builds.get(path);
    const pid = isFolder(path) ? downloaderOf(lockPlace(path)) : undefined;
    if (path === join(models, 'adopted')) leftovers.found.push(...adoptedLeftovers(path, options));
    else if (pid !== undefined) leftovers.busy.push({ path, pid });
    else if (files !== undefined) leftovers.found.push(...buildLeftovers(path, files, kept));
    else leftovers.found.push(...kept.without(path, unknownKind(path)));
  }
  return leftovers;
}

/** Removes what `findLeftovers` found; an empty folder of a build goes too. Returns what was removed: whatever is found
 *  no more, or is being downloaded by now, stays. */
export function removeLeftovers(found: readonly Leftover[], options: PruneOptions): Leftover[] {
  const still = new Set(findLeftovers(options).found.map(({ path }) => path));
  const removed = found.filter(({ path }) => still.has(path));
  const models = join(options.homeFolder, 'models');
  for (const { path } of removed) {
    const folder = isFolder(path) ? path : dirname(path);
    const mayBeDownloadedTo = folder !== models && folder !== join(models, 'adopted');
    using _lock = mayBeDownloadedTo ? lockDownload(lockPlace(folder)) : undefined;
    rmSync(path, { recursive: true, force: true });
  }
  for (const folder of new Set(removed.map(({ path }) => dirname(path)))) {
    if (folder !== models && isFolder(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
  }
  return removed;
}

/** What the settings or an adoption use, so that it is no leftover wherever it lies. */
class Keeper {
  readonly #paths: ReadonlySet<string>;

  constructor({ homeFolder, ownFiles }: PruneOptions) {
    const adopted = readAdoptions(homeFolder).flatMap(({ record }) => record?.files.map(({ path }) => path) ?? []);
    const used = [...adopted, ...ownFiles.flatMap(splitParts)];
    this.#paths = new Set(used.flatMap((path) => [path, realPath(path)]));
  }

  /** The leftover; what is beside the used files in a folder that holds some; nothing for a used file. */
  without(path: string, { kind, reason }: Pick<Leftover, 'kind' | 'reason'>): Leftover[] {
    const inside = [path, realPath(path)];
    const uses = (used: string) => inside.some((each) => used === each || used.startsWith(each + sep));
    if (![...this.#paths].some(uses)) return [{ path, sizeBytes: sizeOfTree(path), kind, reason }];
    return isFolder(path) ? entriesIn(path).flatMap((each) => this.without(each, { kind, reason })) : [];
  }
}

function unknownKind(path: string): Pick<Leftover, 'kind' | 'reason'> {
  return isFolder(path)
    ? { kind: 'not_in_catalogue', reason: 'no build of the catalogue (any more)' }
    : { kind: 'unknown', reason: 'no model here uses it' };
}

function buildLeftovers(folder: string, files: readonly CatalogFile[], kept: Keeper): Leftover[] {
  const places = new Map(files.map((file) => [join(folder, file.path), file]));
  const parts = new Set([...places.keys()].flatMap((path) => [partPlace(path), journalOf(partPlace(path))]));
  const records = new Map([...places].map(([path, file]) => [verifiedPlace(path), { path, file }]));
  return entriesIn(folder).flatMap((path) => {
    const file = places.get(path);
    const record = records.get(path);
    if (file !== undefined) return isSuperseded(path, file) ? kept.without(path, SUPERSEDED) : [];
    if (record !== undefined) {
      if (!exists(record.path)) return kept.without(path, RECORD_WITHOUT_FILE);
      return isSuperseded(record.path, record.file) ? kept.without(path, SUPERSEDED) : [];
    }
    const isUnfinished = parts.has(path) || path === lockPlace(folder) || path.endsWith('.tmp');
    return kept.without(path, isUnfinished ? UNFINISHED : { kind: 'unknown', reason: 'no file of this build' });
  });
}

const SUPERSEDED = { kind: 'superseded', reason: 'the catalogue has another file for this build now' } as const;
const UNFINISHED = { kind: 'unfinished', reason: 'a download that was not finished' } as const;
const RECORD_WITHOUT_FILE = { kind: 'record_without_file', reason: 'the file it speaks of is gone' } as const;

/** Verified once, as another file than the catalogue means now. One that was never verified may be the right one. */
function isSuperseded(path: string, file: CatalogFile): boolean {
  const sha256 = verifiedHash(path);
  return sha256 !== undefined && sha256 !== file.sha256;
}

/** Of `adopted`: records whose file is gone, records that cannot be read, and files that are no records. */
function adoptedLeftovers(folder: string, { homeFolder, now }: PruneOptions): Leftover[] {
  const records = new Map(readAdoptions(homeFolder).map(({ path, record }) => [path, record]));
  return entriesIn(folder).flatMap((path): Leftover[] => {
    const sizeBytes = sizeOfTree(path);
    const isAside = path.endsWith('.tmp');
    if (isAside && now - (lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? now) < ASIDE_AGE_MS) return [];
    if (!records.has(path)) {
      return [{ path, sizeBytes, kind: isAside ? 'unfinished' : 'unknown', reason: 'no record of an adopted model' }];
    }
    const record = records.get(path);
    if (record === undefined) return [{ path, sizeBytes, kind: 'unknown', reason: 'it cannot be read' }];
    const gone = record.files.find((file) => !exists(file.path));
    const reason = `${record.alias}: ${gone?.path ?? ''} is gone, or its disk is not connected`;
    return gone === undefined ? [] : [{ path, sizeBytes, kind: 'record_without_file', reason }];
  });
}

function entriesIn(folder: string): string[] {
  const names = isFolder(folder) ? readdirSync(folder).sort() : [];
  return names.filter((name) => !name.startsWith('.')).map((name) => join(folder, name)); // the Finder's are not ours
}

/** False only when it is gone for certain. */
function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true; // it may not be looked at
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // it is gone
  }
}
