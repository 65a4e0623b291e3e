import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, join, relative, sep } from 'node:path';
import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import type { CatalogBuild, CatalogModel } from './catalog.js';
import { sha256Of } from './file-hash.js';
import { readGguf, splitParts } from './gguf.js';
import {
  forgetAdopted,
  readAdoptions,
  sameFiles,
  seenNow,
  writeAdopted,
  type AdoptedRecord,
  type Entry,
  type Finder,
} from './places.js';
import { ownBuildId } from './store.js';

/** Finds GGUF models that other applications hold, and uses them in place: nothing is copied. */

const MAX_DEPTH = 8;
const MAX_NAMES = 20_000; // files and folders looked at in each place
const OLLAMA_MODEL_LAYER = 'application/vnd.ollama.image.model';

const OllamaManifest = z.object({
  layers: z.array(z.object({ mediaType: z.string(), digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) })),
});

/** Where the applications keep their models. */
export interface AdoptFolders {
  /** Of the person who runs the applications. */
  userHome: string;
  /** `HF_HOME`; absent: `.cache/huggingface` of the user. */
  huggingFaceHome?: string | undefined;
  /** `OLLAMA_MODELS`; absent: `.ollama/models` of the user. */
  ollamaModels?: string | undefined;
}

/** A model that could be adopted. */
export interface Candidate {
  /** What its application calls it. */
  name: string;
  foundIn: Finder;
  /** Where the application shows it; the file that is opened first stands first. */
  paths: string[];
  sizeBytes: number;
  quantization: string;
  /** What the name of each file claims its SHA-256 to be; adopting checks it. */
  claimedSha256?: string[];
  /** The build of the catalogue that it seems to be, by claimed hash or by size. */
  likelyBuild?: string;
}

/** A file that looked like a model and is none that this provider can run. */
export const Unusable = z.strictObject({
  path: z.string().describe('Where its application shows it'),
  reason: z.string().describe('Why it cannot be used'),
});
type Unusable = z.infer<typeof Unusable>;

interface Found {
  name: string;
  foundIn: Finder;
  path: string;
  claimedSha256?: string[];
}

/** All models of Ollama, LM Studio and the Hugging Face cache. A file that several of them show is listed once. */
export async function findCandidates(
  folders: AdoptFolders,
  catalog: readonly CatalogModel[],
): Promise<{ candidates: Candidate[]; unusable: Unusable[] }> {
  const { userHome, huggingFaceHome = join(userHome, '.cache/huggingface') } = folders;
  const found = [
    ...inOllama(folders.ollamaModels ?? join(userHome, '.ollama/models')),
    ...inLmStudio(join(userHome, '.lmstudio/models')),
    ...inLmStudio(join(userHome, '.cache/lm-studio/models')),
    ...inHuggingFace(join(huggingFaceHome, 'hub')),
  ];
  const candidates: Candidate[] = [];
  const unusable: Unusable[] = [];
  const known = new Set<string>();
  for (const each of found) {
    const real = realPath(each.path);
    if (real === undefined || known.has(real)) continue;
    known.add(real);
    try {
      candidates.push(await candidateOf(each, catalog));
    } catch (error) {
      unusable.push({ path: each.path, reason: error instanceof Error ? error.message : 'it cannot be read' });
    }
  }
  return { candidates, unusable };
}

async function candidateOf({ path, ...found }: Found, catalog: readonly CatalogModel[]): Promise<Candidate> {
  const { quantization, sizeBytes } = await readGguf(path);
  const paths = splitParts(path);
  const { claimedSha256 } = found;
  const likely = entriesOf(catalog).find(({ build }) =>
    claimedSha256 === undefined
      ? sameSizes(build, paths)
      : sameFiles(
          build.files,
          claimedSha256.map((sha256) => ({ sha256 })),
        ),
  );
  return {
    ...found,
    paths,
    sizeBytes,
    quantization,
    ...(likely === undefined ? {} : { likelyBuild: likely.build.id }),
  };
}

function sameSizes(build: CatalogBuild, paths: readonly string[]): boolean {
  return (
    build.files.length === paths.length &&
    build.files.every(({ size_bytes }, index) => statSync(paths[index] ?? '').size === size_bytes)
  );
}

interface AdoptOptions {
  homeFolder: string;
  catalog: readonly CatalogModel[];
  /** Names of `[models.files]`: an adopted model of such a name would not be offered. */
  namesInSettings: readonly string[];
  signal?: AbortSignal;
  /** Hears how many bytes were hashed so far. */
  onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Hashes the files of a candidate and remembers them: under the id of the catalogue if they are a build of it, under an
 * id of their own otherwise.
 * @throws DarkbloomError `model_corrupt` when a file is not what its own name says. The signal's reason when it fires.
 */
export async function adopt(candidate: Candidate, options: AdoptOptions): Promise<AdoptedRecord> {
  const files: AdoptedRecord['files'] = [];
  let hashedBytes = 0;
  for (const [index, path] of candidate.paths.entries()) {
    const read = (bytes: number) => options.onProgress?.(hashedBytes + bytes, candidate.sizeBytes);
    const sha256 = await sha256Of(path, { signal: options.signal, read });
    const claimed = candidate.claimedSha256?.[index];
    if (claimed !== undefined && claimed !== sha256) {
      throw new DarkbloomError(
        'model_corrupt',
        `${path} is damaged: its SHA-256 is ${sha256}, its name says ${claimed}. Let its application fetch it again.`,
      );
    }
    const seen = seenNow(path, sha256);
    hashedBytes += seen.size_bytes;
    files.push({ path, ...seen });
  }
  const { catalog, homeFolder, namesInSettings } = options;
  const records = readAdoptions(homeFolder).flatMap(({ record }) => (record === undefined ? [] : [record]));
  const before = records.filter((other) => other.files[0]?.path === files[0]?.path); // adopted again, changed or not
  const others = records.filter((other) => !before.includes(other));
  const entry = entriesOf(catalog).find(({ build }) => sameFiles(build.files, files));
  const taken = new Set([
    ...entriesOf(catalog).flatMap(({ model, build }) => [model.alias, build.id]),
    ...others.flatMap(({ alias, id }) => [alias, id]),
    ...namesInSettings,
  ]);
  const record: AdoptedRecord = {
    schema_version: 1,
    ...(entry === undefined ? ownNames(candidate, taken) : catalogueNames(entry)),
    found_in: candidate.foundIn,
    files,
  };
  writeAdopted(homeFolder, record);
  for (const { id } of before) if (id !== record.id) forgetAdopted(homeFolder, id);
  return record;
}

function catalogueNames({ model, build }: Entry) {
  return { id: build.id, alias: model.alias, display_name: model.display_name };
}

/** Names for a model that the catalogue does not know, none of them taken: an alias stands for one model. */
function ownNames(candidate: Candidate, taken: ReadonlySet<string>) {
  const plain = candidate.name
    .replaceAll(/[^A-Za-z0-9._-]+/gu, '-')
    .replaceAll(/^[^A-Za-z0-9]+|-+$/gu, '')
    .toLowerCase();
  const name = plain === '' ? 'model' : plain;
  const isTaken = (each: string) => taken.has(each) || taken.has(ownBuildId(each, candidate));
  const withFinder = `${name}-${candidate.foundIn}`;
  let alias = isTaken(name) ? withFinder : name;
  for (let number = 2; isTaken(alias); number++) alias = `${withFinder}-${number}`;
  return { id: ownBuildId(alias, candidate), alias, display_name: candidate.name };
}

function entriesOf(catalog: readonly CatalogModel[]): Entry[] {
  return catalog.flatMap((model) => model.builds.map((build): Entry => ({ model, build })));
}

/** `manifests/<host>/<owner>/<model>/<tag>` names the blobs of a model. */
function inOllama(folder: string): Found[] {
  const manifests = join(folder, 'manifests');
  return filesUnder(manifests).flatMap((path) => {
    const parts = relative(manifests, path).split(sep);
    const [owner = '', model = '', tag = ''] = parts.slice(-3);
    if (parts.length < 4) return [];
    const name = `${owner === 'library' ? '' : `${owner}/`}${model}:${tag}`;
    return modelLayers(path).map((sha256) => ({
      name,
      foundIn: 'ollama' as const,
      path: join(folder, 'blobs', `sha256-${sha256}`),
      claimedSha256: [sha256],
    }));
  });
}

/** The hashes of the layers that are models, of a manifest that can be read. */
function modelLayers(manifestPath: string): string[] {
  try {
    const { layers } = OllamaManifest.parse(JSON.parse(readFileSync(manifestPath, 'utf8')));
    return layers
      .filter(({ mediaType }) => mediaType === OLLAMA_MODEL_LAYER)
      .map(({ digest }) => digest.slice('sha256:'.length));
  } catch {
    return []; // not a manifest: a file that the system or another version put there
  }
}

/** `<owner>/<repository>/<file>.gguf`. */
function inLmStudio(folder: string): Found[] {
  return filesUnder(folder)
    .filter(isFirstGguf)
    .map((path) => ({ name: nameOf(path), foundIn: 'lm-studio', path }));
}

/** `models--<owner>--<repository>/snapshots/<revision>/<file>.gguf`, a link to a blob named after its hash. */
function inHuggingFace(hub: string): Found[] {
  const repositories = namesIn(hub).filter((name) => name.startsWith('models--'));
  return repositories.flatMap((repository) =>
    filesUnder(join(hub, repository, 'snapshots'))
      .filter(isFirstGguf)
      .map((path) => {
        const blobs = splitParts(path).map((part) => basename(realPath(part) ?? ''));
        const areHashes = blobs.every((blob) => /^[0-9a-f]{64}$/u.test(blob));
        return {
          name: nameOf(path),
          foundIn: 'hugging-face' as const,
          path,
          ...(areHashes ? { claimedSha256: blobs } : {}),
        };
      }),
  );
}

/** A model of its own, or the first file of a split one; an image projector is none. */
function isFirstGguf(path: string): boolean {
  const part = /-(\d{5})-of-\d{5}\.gguf$/u.exec(path)?.[1];
  return path.endsWith('.gguf') && (part === undefined || part === '00001') && !/^mmproj/iu.test(basename(path));
}

function nameOf(path: string): string {
  return basename(path, '.gguf').replace(/-00001-of-\d{5}$/u, '');
}

/** All files under a folder in a fixed order, links to files included; bounded in depth and number. */
function filesUnder(folder: string): string[] {
  const files: string[] = [];
  let names = 0;
  walk(folder, 0);
  return files;

  function walk(path: string, depth: number): void {
    for (const name of namesIn(path)) {
      if (++names > MAX_NAMES) return;
      const inside = join(path, name);
      const kind = statSync(inside, { throwIfNoEntry: false });
      if (kind?.isFile() === true) files.push(inside);
      else if (kind?.isDirectory() === true && depth < MAX_DEPTH) walk(inside, depth + 1);
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // the application is not installed, or its folder is closed to us
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
