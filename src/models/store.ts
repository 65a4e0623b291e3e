import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Settings } from '../config.js';
import { DarkbloomError } from '../errors.js';
import type { ModelShape } from '../inference/footprint.js';
import { PACKAGE_ROOT } from '../util/version.js';
import { weightHash, type CatalogBuild, type CatalogModel } from './catalog.js';
import { readGguf } from './gguf.js';

/** A model whose file lies on this machine and was looked into. */
export interface InstalledModel {
  /** Build id: what the wire carries. */
  id: string;
  alias: string;
  displayName: string;
  family: string;
  architecture: string;
  quantization: string;
  path: string;
  sizeBytes: number;
  trainedContextTokens: number;
  maxOutputTokens: number;
  shape: ModelShape;
  templateRenderOk: boolean;
  /** Absent for the owner's own file: nobody pinned a hash to compare with. */
  weightHash?: string;
}

/** The models of the package and the owner's own files.
 *  @throws DarkbloomError `model_corrupt` for a file that is missing, cut short or not what the catalogue says. */
export async function installedModels(catalog: readonly CatalogModel[], settings: Settings): Promise<InstalledModel[]> {
  const packaged = catalog.flatMap((model) => model.builds.map((build) => packagedModel(model, build)));
  const own = Object.entries(settings.models.files).map(([name, path]) => ownModel(name, resolve(path), catalog));
  return Promise.all([...packaged, ...own]);
}

async function packagedModel(model: CatalogModel, build: CatalogBuild): Promise<InstalledModel> {
  for (const file of build.files) {
    const path = join(PACKAGE_ROOT, 'assets', file.path);
    if ((await sha256(path)) !== file.sha256) {
      throw new DarkbloomError('model_corrupt', `${path} is not the file of this package. Install the package again.`);
    }
  }
  const path = join(PACKAGE_ROOT, 'assets', build.files[0]?.path ?? '');
  const facts = await readGguf(path);
  return {
    id: build.id,
    alias: model.alias,
    displayName: model.display_name,
    family: model.family,
    maxOutputTokens: model.max_output_tokens,
    path,
    weightHash: weightHash(build.files),
    ...facts,
  };
}

async function ownModel(name: string, path: string, catalog: readonly CatalogModel[]): Promise<InstalledModel> {
  if (catalog.some(({ alias }) => alias === name)) {
    throw new DarkbloomError(
      'config_invalid',
      `models.files.${name}: the catalogue has a model of that name. Choose another.`,
    );
  }
  const facts = await readGguf(path);
  return {
    id: `local/${name}-${facts.quantization.toLowerCase()}`,
    alias: name,
    displayName: basename(path, '.gguf'),
    family: facts.architecture,
    maxOutputTokens: facts.trainedContextTokens,
    path,
    ...facts,
  };
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
