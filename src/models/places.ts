import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { readFileIfPresent, writePrivateFile } from '../util/files.js';
import type { CatalogBuild, CatalogFile, CatalogModel } from './catalog.js';
import { lockDownload } from './download-lock.js';
import { sha256Of } from './file-hash.js';

/**
 * Where model files lie in a home, and which of them may be used:
 *
 *     models/local-gpt-oss-20b-mxfp4/gpt-oss-20b-mxfp4.gguf            a downloaded file
 *                                    gpt-oss-20b-mxfp4.gguf.verified   what it was when its hash was computed
 *     models/adopted/<name>.json                                       a file of another application, used in place
 */

const Seen = z.strictObject({
  size_bytes: z.number().int().nonnegative(),
  /** Milliseconds since the Unix epoch, whole. */
  mtime_ms: z.number().int(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
/** A file as it was when its hash was computed. */
export type Seen = z.infer<typeof Seen>;

const VerifiedRecord = Seen.extend({ schema_version: z.literal(1) });

export const Finder = z.enum(['ollama', 'lm-studio', 'hugging-face']);
/** Whose file it is. */
export type Finder = z.infer<typeof Finder>;

const AdoptedRecord = z.strictObject({
  schema_version: z.literal(1),
  /** Build id: the catalogue's, when the hash is the catalogue's. */
  id: z.string().min(1),
  alias: z.string().min(1),
  display_name: z.string(),
  found_in: Finder,
  files: z.array(Seen.extend({ path: z.string().min(1) })).min(1),
});
export type AdoptedRecord = z.infer<typeof AdoptedRecord>;

/** A build of the catalogue, and its model. */
export interface Entry {
  model: CatalogModel;
  build: CatalogBuild;
}

/** A model whose files were hashed once and have not changed since. */
export interface PlacedModel {
  id: string;
  alias: string;
  displayName: string;
  /** The one that is opened first stands first. */
  paths: string[];
  from: 'download' | Finder;
  /** Absent: a file that the catalogue does not know. */
  entry?: Entry;
}

/** A model that is here and is not offered. */
export const RefusedModel = z.strictObject({
  id: z.string().describe('Build id'),
  alias: z.string().describe('What clients would call it'),
  path: z.string().describe('The file that is not in order'),
  reason: z.string().describe('A sentence for the owner'),
});
type RefusedModel = z.infer<typeof RefusedModel>;

export interface Places {
  ready: PlacedModel[];
  refused: RefusedModel[];
}

/** The folder of a downloaded build. */
export function buildFolder(homeFolder: string, buildId: string): string {
  return join(homeFolder, 'models', buildId.replaceAll('/', '-'));
}

export function filePlace(homeFolder: string, build: CatalogBuild, file: CatalogFile): string {
  return join(buildFolder(homeFolder, build.id), file.path);
}

/** Who downloads into this folder has this file. */
export function lockPlace(folder: string): string {
  return join(folder, 'download.lock');
}

/** Where a file lies while it is downloaded. */
export function partPlace(path: string): string {
  return `${path}.part`;
}

function adoptedFolder(homeFolder: string): string {
  return join(homeFolder, 'models', 'adopted');
}

function adoptedPlace(homeFolder: string, id: string): string {
  return join(adoptedFolder(homeFolder), `${id.replaceAll('/', '-')}.json`);
}

/** Size and time of a file with the hash that was just computed over it. */
export function seenNow(path: string, sha256: string): Seen {
  const { size, mtimeMs } = statSync(path);
  return { size_bytes: size, mtime_ms: Math.floor(mtimeMs), sha256 };
}

/** Where it is remembered what a file was when its hash was computed. */
export function verifiedPlace(path: string): string {
  return `${path}.verified`;
}

/** The hash that a downloaded file had when it was verified; `undefined` when nobody did. */
export function verifiedHash(path: string): string | undefined {
  return readRecord(verifiedPlace(path), VerifiedRecord)?.sha256;
}

/** Remembers that the whole file has this hash. */
export function writeVerified(path: string, sha256: string): void {
  const record: z.infer<typeof VerifiedRecord> = { schema_version: 1, ...seenNow(path, sha256) };
  writePrivateFile(verifiedPlace(path), `${JSON.stringify(record)}\n`);
}

export function writeAdopted(homeFolder: string, record: AdoptedRecord): void {
  writePrivateFile(adoptedPlace(homeFolder, record.id), `${JSON.stringify(record, undefined, 2)}\n`);
}

/** Why a file of a build cannot be used, `undefined` when it can. Size alone is never believed. */
export function fileProblem(path: string, expected: { size_bytes: number; sha256: string }): string | undefined {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) {
    return existsSync(partPlace(path))
      ? `${path} was not downloaded to its end. Run the download again: it continues.`
      : `${path} is missing.`;
  }
  const record = readRecord(verifiedPlace(path), VerifiedRecord);
  if (record === undefined) return `${path} was not verified. Verify or download the model again.`;
  if (record.sha256 !== expected.sha256 || size !== expected.size_bytes) {
    return `${path} is not the file of the catalogue. Download the model again.`;
  }
  return changeSince(path, record);
}

/** All models in this home, usable or not. */
export function readPlaces(catalog: readonly CatalogModel[], homeFolder: string): Places {
  const places: Places = { ready: [], refused: [] };
  const entries = catalog.flatMap((model) => model.builds.map((build): Entry => ({ model, build })));
  for (const entry of entries) readDownloaded(entry, homeFolder, places);
  for (const path of adoptedRecordPaths(homeFolder)) readAdopted(path, entries, places);
  return places;
}

function adoptedRecordPaths(homeFolder: string): string[] {
  const names = namesIn(adoptedFolder(homeFolder)).filter((name) => name.endsWith('.json'));
  return names.map((name) => join(adoptedFolder(homeFolder), name));
}

/** What was adopted in this home, usable or not; `record` is absent for one that cannot be read. */
export function readAdoptions(homeFolder: string): { path: string; record?: AdoptedRecord }[] {
  return adoptedRecordPaths(homeFolder).map((path) => {
    const record = readRecord(path, AdoptedRecord);
    return record === undefined ? { path } : { path, record };
  });
}

/** A record that cannot be read gets an id that no build has. */
function idOf(recordPath: string, record: AdoptedRecord | undefined): string {
  return record?.id ?? `adopted/${basename(recordPath, '.json')}`;
}

function readDownloaded({ model, build }: Entry, homeFolder: string, places: Places): void {
  if (build.source === 'package' || namesIn(buildFolder(homeFolder, build.id)).length === 0) return;
  const paths = build.files.map((file) => filePlace(homeFolder, build, file));
  const problems = build.files.map((file, index) => fileProblem(paths[index] ?? '', file));
  const at = problems.findIndex((problem) => problem !== undefined);
  const reason = problems[at];
  if (reason === undefined) {
    const { alias, display_name: displayName } = model;
    places.ready.push({ id: build.id, alias, displayName, paths, from: 'download', entry: { model, build } });
  } else {
    places.refused.push({ id: build.id, alias: model.alias, path: paths[at] ?? '', reason });
  }
}

function readAdopted(recordPath: string, entries: readonly Entry[], places: Places): void {
  const record = readRecord(recordPath, AdoptedRecord);
  if (record === undefined) {
    const reason = `${recordPath} cannot be read. Remove it.`;
    places.refused.push({
      id: idOf(recordPath, record),
      alias: basename(recordPath, '.json'),
      path: recordPath,
      reason,
    });
    return;
  }
  const { id, alias, display_name: displayName, found_in: from, files } = record;
  if (places.ready.some((placed) => placed.id === id)) return; // the same build was downloaded too
  const entry = entries.find(({ build }) => build.id === id);
  const changed = files
    .map((file) => ({ path: file.path, reason: changeSince(file.path, file) }))
    .find(({ reason }) => reason !== undefined);
  const foreign = entry !== undefined && !sameFiles(files, entry.build.files);
  const reason = foreign ? `It is not the build of the catalogue any more. Adopt it again.` : changed?.reason;
  if (reason !== undefined) {
    places.refused.push({ id, alias, path: changed?.path ?? files[0]?.path ?? '', reason });
    return;
  }
  const placed = { id, alias, displayName, paths: files.map(({ path }) => path), from };
  places.ready.push(entry === undefined ? placed : { ...placed, entry });
}

/** True when both lists hold the same contents in the same order. */
export function sameFiles(a: readonly { sha256: string }[], b: readonly { sha256: string }[]): boolean {
  return a.length === b.length && a.every(({ sha256 }, index) => sha256 === b[index]?.sha256);
}

function changeSince(path: string, seen: Seen): string | undefined {
  const now = statSync(path, { throwIfNoEntry: false });
  if (now === undefined) return `${path} is missing.`;
  if (now.size === seen.size_bytes && Math.floor(now.mtimeMs) === seen.mtime_ms) return undefined;
  return `${path} was changed since it was verified. Verify or adopt it again.`;
}

/**
 * Hashes the files of a downloaded build again and remembers the result.
 * Returns a sentence for each file that is missing or not what the catalogue says; none: the build is whole.
 */
export async function verifyBuild(homeFolder: string, build: CatalogBuild, signal?: AbortSignal): Promise<string[]> {
  const problems: string[] = [];
  for (const file of build.files) {
    const path = filePlace(homeFolder, build, file);
    if (statSync(path, { throwIfNoEntry: false }) === undefined) {
      problems.push(`${path} is missing.`);
      continue;
    }
    const sha256 = await sha256Of(path, { signal });
    if (sha256 === file.sha256) {
      writeVerified(path, sha256);
    } else {
      rmSync(verifiedPlace(path), { force: true }); // what was true once is not any more: neither served nor believed
      problems.push(`${path} is damaged: its SHA-256 is ${sha256}, not ${file.sha256}. Download the model again.`);
    }
  }
  return problems;
}

/** The same for a model that is here under an id, downloaded or adopted: an adopted file must be the one of its record. */
export async function verifyPlaced(
  homeFolder: string,
  id: string,
  catalog: readonly CatalogModel[],
): Promise<string[]> {
  const build = catalog.flatMap(({ builds }) => builds).find((each) => each.id === id);
  if (build !== undefined && namesIn(buildFolder(homeFolder, id)).length > 0) return verifyBuild(homeFolder, build);
  const found = readAdoptions(homeFolder).find(({ path, record }) => idOf(path, record) === id);
  if (found?.record === undefined) return [`${found?.path ?? id} cannot be read. Remove it.`];
  return verifyAdopted(homeFolder, found.record);
}

async function verifyAdopted(homeFolder: string, record: AdoptedRecord): Promise<string[]> {
  const problems: string[] = [];
  const files: AdoptedRecord['files'] = [];
  for (const file of record.files) {
    const { path } = file;
    const isThere = statSync(path, { throwIfNoEntry: false }) !== undefined;
    if (isThere && (await sha256Of(path)) === file.sha256) {
      files.push({ path, ...seenNow(path, file.sha256) });
      continue;
    }
    problems.push(
      isThere ? `${path} is not the file any more that was adopted. Adopt it again.` : `${path} is missing.`,
    );
    files.push({ ...file, mtime_ms: 0 }); // not offered any more, also when its size and time are the same
  }
  writeAdopted(homeFolder, { ...record, files });
  return problems;
}

/** What was there of a model and is not any more. */
export interface Removed {
  /** The folder that downloads had filled. */
  downloaded: boolean;
  /** The record of a file of another application, which stays. */
  adopted: boolean;
}

/** Removes the downloaded files of a build and what was adopted under its id. Files of other applications stay.
 *  @throws DarkbloomError `already_running` while a process downloads the build. */
export function removePlaced(homeFolder: string, id: string): Removed {
  const folder = buildFolder(homeFolder, id);
  const records = readAdoptions(homeFolder).filter(({ path, record }) => idOf(path, record) === id);
  const removed = { downloaded: existsSync(folder), adopted: records.length > 0 };
  if (removed.downloaded) {
    using _lock = lockDownload(lockPlace(folder));
    rmSync(folder, { recursive: true, force: true });
  }
  for (const { path } of records) rmSync(path, { force: true });
  return removed;
}

/** Removes the record of an adopted model; its files stay. */
export function forgetAdopted(homeFolder: string, id: string): void {
  rmSync(adoptedPlace(homeFolder, id), { force: true });
}

function readRecord<T>(path: string, schema: z.ZodType<T>): T | undefined {
  const text = readFileIfPresent(path);
  if (text === undefined) return undefined;
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // not JSON
  }
}

function namesIn(folder: string): string[] {
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(folder).sort() : [];
}
