import { chatCapabilities } from '../inference/features.js';
import { weightHash, type CatalogModel } from '../models/catalog.js';
import type { InstalledModel } from '../models/store.js';
import type { Alias, Build } from './registry.js';

/** Models that a coordinator's registry knows from the start. */
export interface KnownModel {
  build: Build;
  alias: Alias;
}

/** The catalogue as the coordinator's registry keeps it. */
export function catalogModels(catalog: readonly CatalogModel[], now: number): KnownModel[] {
  return catalog.flatMap((model) => {
    const [desired, ...older] = model.builds;
    if (desired === undefined) return [];
    const alias: Alias = {
      id: model.alias,
      displayName: model.display_name,
      desiredBuild: desired.id,
      previousBuild: older[0]?.id,
      retiredBuilds: older.slice(1).map(({ id }) => id),
    };
    return model.builds.map((build) => ({
      alias,
      build: {
        id: build.id,
        displayName: model.display_name,
        family: model.family,
        architecture: model.architecture,
        quantization: build.quantization,
        sizeBytes: build.files.reduce((sum, file) => sum + file.size_bytes, 0),
        contextLength: build.context_tokens,
        maxOutputLength: model.max_output_tokens,
        minRamGb: model.min_ram_gb,
        weightHash: weightHash(build.files),
        files: build.files.map((file) => ({ path: file.path, sizeBytes: file.size_bytes, sha256: file.sha256 })),
        source: build.source,
        capabilities: chatCapabilities(model.capabilities.includes('reasoning')),
        version: 'v1',
        description: model.description,
        runtimeParameters: {},
        metadata: build.source === 'huggingface' ? { hugging_face_id: build.repo } : {},
        active: true,
        createdAt: now,
      },
    }));
  });
}

/** The owner's own files, under the names of the settings, with the context that they are served with. */
export function ownModels(
  models: readonly InstalledModel[],
  catalog: readonly CatalogModel[],
  contextTokens: number,
  now: number,
): KnownModel[] {
  const known = new Set(catalog.map(({ alias }) => alias));
  return models
    .filter(({ alias }) => !known.has(alias))
    .map((model) => ({
      alias: { id: model.alias, displayName: model.displayName, desiredBuild: model.id, retiredBuilds: [] },
      build: {
        id: model.id,
        displayName: model.displayName,
        family: model.family,
        architecture: model.architecture,
        quantization: model.quantization,
        sizeBytes: model.sizeBytes,
        contextLength: Math.min(model.trainedContextTokens, contextTokens),
        maxOutputLength: Math.min(model.maxOutputTokens, contextTokens),
        minRamGb: 0,
        files: [],
        source: 'own',
        capabilities: model.task === 'vectors' ? ['embeddings'] : chatCapabilities(model.thinks === true),
        version: 'v1',
        description: '',
        runtimeParameters: {},
        metadata: {},
        active: true,
        createdAt: now,
      },
    }));
}
