import { footprint } from '../../../inference/footprint.js';
import { inWords } from '../../../util/byte-words.js';
import { sizeOf } from '../../../models/catalog.js';
import { readPlaces } from '../../../models/places.js';
import { installedModels } from '../../../models/store.js';
import { printJson } from '../../json-output.js';
import type { ModelsCatalogOutput, ModelsListOutput } from '../../models-output.js';
import { printHanging } from '../../screen.js';
import { style } from '../../style.js';
import { printTable } from '../../table.js';
import { smallestMacGb } from './plan.js';
import { here } from './here.js';

export async function list({ json }: { json?: true }): Promise<void> {
  const { home, settings, models } = here();
  const installed = await installedModels(models, settings, home.folder);
  const { refused } = readPlaces(models, home.folder);
  const { slots, context_tokens: context, kv_type: kvType } = settings.engine;
  const rows = installed.map((model) => {
    const tokens = Math.min(context, model.trainedContextTokens);
    const memoryBytes = footprint(model.shape, slots, tokens, kvType).totalBytes;
    const { alias, id, quantization, sizeBytes, path } = model;
    return { alias, build: id, quantization, size_bytes: sizeBytes, memory_bytes: memoryBytes, path };
  });
  if (json === true) {
    printJson<ModelsListOutput>({ schema_version: 1, models: rows, refused });
    return;
  }
  printTable({
    head: ['model', 'build', 'on disk', 'in memory'],
    rows: rows.map((row) => [row.alias, row.quantization, inWords(row.size_bytes), inWords(row.memory_bytes)]),
    spare: ['on disk'],
  });
  if (rows.length === 1)
    printHanging('', 'This one is for trying things out. What fits this machine: darkbloom-provider models plan');
  for (const { id, reason } of refused) printHanging(`${style.yellow('not offered')} `, `${id}: ${reason}`);
}

export function catalog({ json }: { json?: true }): void {
  const { home, settings, models } = here();
  const ready = new Set(readPlaces(models, home.folder).ready.map(({ id }) => id));
  const rows = models.flatMap((model) =>
    model.builds.map((build) => ({
      alias: model.alias,
      build: build.id,
      quantization: build.quantization,
      size_bytes: sizeOf(build),
      context_tokens: build.context_tokens,
      min_ram_gb: smallestMacGb(model, build, settings),
      license: model.license,
      installed: build.source === 'package' || ready.has(build.id),
    })),
  );
  if (json === true) {
    printJson<ModelsCatalogOutput>({ schema_version: 1, models: rows });
    return;
  }
  printTable({
    head: ['model', 'build', 'size', 'Mac with', ''],
    rows: rows.map((row) => [
      row.alias,
      row.quantization,
      inWords(row.size_bytes),
      `${row.min_ram_gb} GB`,
      row.installed ? 'installed' : '',
    ]),
    spare: ['Mac with'],
  });
  printHanging(
    '',
    'To get one: darkbloom-provider models download NAME. What fits this machine: darkbloom-provider models plan',
  );
}
