import { basename, join, resolve } from 'node:path';
import type { Settings } from '../config.js';
import { DarkbloomError } from '../errors.js';
import type { ModelShape } from '../inference/footprint.js';
import { PACKAGE_ROOT } from '../util/version.js';
import { weightHash, type CatalogModel } from './catalog.js';
import { sha256Of } from './file-hash.js';
import { readGguf, type GgufFacts } from './gguf.js';
import { filePlace, readPlaces, type Entry, type PlacedModel } from './places.js';

/** A model whose file lies on this machine and was looked into. */
export interface InstalledModel {
  /** Build id: what the wire carries. */
  id: string;
  alias: string;
  displayName: string;
  family: string;
  architecture: string;
  quantization: string;
  /** The file that is opened; a split model's others lie beside it. */
  path: string;
  sizeBytes: number;
  trainedContextTokens: number;
  maxOutputTokens: number;
  shape: ModelShape;
  templateRenderOk: boolean;
  /** For vectors of texts, not for answers. */
  task?: 'vectors';
  /** Its template has a place for thoughts. */
  thinks?: true;
  /** Absent for the owner's own file: nobody pinned a hash to compare with. */
  weightHash?: string;
}

/** The models of the package, the owner's own files and, with a home, what was downloaded to it or adopted there. A
 *  downloaded or adopted file that changed since it was verified is left out: `readPlaces` says why.
 *  @throws DarkbloomError `model_corrupt` for a file that is missing, cut short or not what the catalogue says. */
export async function installedModels(
  catalog: readonly CatalogModel[],
  settings: Settings,
  homeFolder: string,
): Promise<InstalledModel[]> {
  const entries = catalog.flatMap((model) => model.builds.map((build): Entry => ({ model, build })));
  const packaged = entries.filter(({ build }) => build.source === 'package').map(packagedModel);
  const own = Object.entries(settings.models.files).map(([name, path]) => ownModel(name, resolve(path), catalog));
  const named = await Promise.all([...packaged, ...own]);
  const names = new Set(named.flatMap(({ id, alias }) => [id, alias]));
  const placed = readPlaces(catalog, homeFolder).ready;
  // a name in the settings is newer than what was adopted under it
  const others = placed.filter(({ id, alias }) => !names.has(id) && !names.has(alias));
  return [...named, ...(await Promise.all(others.map(placedModel)))];
}

async function packagedModel(entry: Entry): Promise<InstalledModel> {
  const paths = entry.build.files.map((file) => join(PACKAGE_ROOT, 'assets', file.path));
  for (const [index, file] of entry.build.files.entries()) {
    const path = paths[index] ?? '';
    if ((await sha256Of(path)) !== file.sha256) {
      throw new DarkbloomError('model_corrupt', `${path} is not the file of this package. Install the package again.`);
    }
  }
  return catalogueModel(entry, paths[0] ?? '');
}

async function placedModel({ entry, id, alias, displayName, paths }: PlacedModel): Promise<InstalledModel> {
  const path = paths[0] ?? '';
  if (entry !== undefined) return catalogueModel(entry, path);
  return { ...unknownModel(await readGguf(path), path), id, alias, displayName };
}

/** A build that was downloaded just now.
 *  @throws DarkbloomError `model_corrupt` for a file that is no model. */
export async function downloadedModel(entry: Entry, homeFolder: string): Promise<InstalledModel> {
  const [first] = entry.build.files;
  return catalogueModel(entry, first === undefined ? '' : filePlace(homeFolder, entry.build, first));
}

/** A model whose files have the hashes of the catalogue. */
async function catalogueModel({ model, build }: Entry, path: string): Promise<InstalledModel> {
  return {
    ...(await readGguf(path)),
    id: build.id,
    alias: model.alias,
    displayName: model.display_name,
    family: model.family,
    quantization: build.quantization,
    maxOutputTokens: model.max_output_tokens,
    path,
    weightHash: weightHash(build.files),
  };
}

async function ownModel(name: string, path: string, catalog: readonly CatalogModel[]): Promise<InstalledModel> {
  if (catalog.some(({ alias }) => alias === name)) {
    throw new DarkbloomError(
      'config_invalid',
      `models.files.${name}: the catalogue has a model of that name. Choose another.`,
    );
  }
  const facts = await readNamed(name, path);
  return {
    ...unknownModel(facts, path),
    id: ownBuildId(name, facts),
    alias: name,
    displayName: basename(path, '.gguf'),
  };
}

/** Says in an error which line of the settings named the file. */
async function readNamed(name: string, path: string): Promise<GgufFacts> {
  try {
    return await readGguf(path);
  } catch (error) {
    if (!(error instanceof DarkbloomError)) throw error;
    const out = `darkbloom-provider config unset models.files.${name}`;
    throw new DarkbloomError(error.code, `models.files.${name}: ${error.message} To take it out: ${out}`, {
      cause: error,
    });
  }
}

/** The build id of a file that the catalogue does not know. */
export function ownBuildId(name: string, { quantization }: { quantization: string }): string {
  return `local/${name}-${quantization.toLowerCase()}`;
}

function unknownModel(facts: GgufFacts, path: string) {
  return { ...facts, family: facts.architecture, maxOutputTokens: facts.trainedContextTokens, path };
}
