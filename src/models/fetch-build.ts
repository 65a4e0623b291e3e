import type { Settings } from '../config.js';
import { DarkbloomError } from '../errors.js';
import type { CatalogModel } from './catalog.js';
import { downloadBuild, type DownloadLimits } from './download.js';
import { planFor } from './plan.js';
import { downloadedModel, type InstalledModel } from './store.js';

interface FetchOptions {
  catalog: readonly CatalogModel[];
  homeFolder: string;
  settings: Settings;
  /** Memory that loaded models may take, bytes. */
  limitBytes: number;
  signal: AbortSignal;
  onProgress: (progress: { doneBytes: number; totalBytes: number }) => void;
  limits?: Partial<DownloadLimits>;
}

/**
 * Fetches a build that somebody else asked for: one of the catalogue alone, whose hash is known, and only if it fits.
 *
 * @throws DarkbloomError `model_not_found`, `insufficient_memory`, or what `downloadBuild` throws.
 */
export async function fetchBuild(id: string, options: FetchOptions): Promise<InstalledModel> {
  const { catalog, homeFolder, settings, limitBytes, signal, onProgress, limits } = options;
  const model = catalog.find(({ builds }) => builds.some((build) => build.id === id));
  const build = model?.builds.find((each) => each.id === id);
  if (model === undefined || build?.source !== 'huggingface') {
    throw new DarkbloomError('model_not_found', 'no such model in the catalogue of this machine');
  }
  const { slots: rows, context_tokens: contextTokens, kv_type: kvType } = settings.engine;
  const plan = planFor({ catalog: [model], limitBytes, rows, contextTokens, kvType });
  if (plan.lines.find((line) => line.id === id)?.fits === 'no') {
    throw new DarkbloomError('insufficient_memory', 'the model does not fit the memory of this machine');
  }
  const endpoints = [settings.models.download_from];
  await downloadBuild(build, {
    homeFolder,
    endpoints,
    signal,
    onProgress,
    ...(limits === undefined ? {} : { limits }),
  });
  return downloadedModel({ model, build }, homeFolder);
}
