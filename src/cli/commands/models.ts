import { homedir } from 'node:os';
import { Command } from 'commander';
import { environment, findHome, loadSettings, type Home, type Settings } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { footprint } from '../../inference/footprint.js';
import { systemCommands } from '../../machine/commands.js';
import { macEngineLimit, readMemory } from '../../machine/memory.js';
import { adopt, findCandidates, type Candidate } from '../../models/adopt.js';
import { inWords } from '../../models/byte-words.js';
import { readCatalog, sizeOf, type CatalogModel, type HostedBuild } from '../../models/catalog.js';
import { downloadBuild } from '../../models/download.js';
import { parseMac } from '../../models/macs.js';
import { readPlaces, removePlaced, verifyBuild } from '../../models/places.js';
import { planFor, type Plan, type PlanLine } from '../../models/plan.js';
import { installedModels } from '../../models/store.js';
import { nearest } from '../../util/nearest.js';
import { printJson } from '../json-output.js';
import {
  candidateOutput,
  planOutput,
  type ModelsAdoptOutput,
  type ModelsCatalogOutput,
  type ModelsListOutput,
  type ModelsPlanOutput,
} from '../models-output.js';
import { progressLine } from '../progress-line.js';
import { printHanging } from '../screen.js';
import { listenForStop } from '../stopping.js';
import { print, printDone, style } from '../style.js';
import { printTable } from '../table.js';

const GIB = 1024 ** 3;
const JSON_HELP = 'one JSON object';
const RESTART = 'A running daemon offers it after a restart.';

export function modelsCommand(): Command {
  const command = new Command('models')
    .description('which models this machine has, could have, and has room for')
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider models plan                      what fits this machine, with the sum
  $ darkbloom-provider models download qwen3.5-4b
  $ darkbloom-provider models adopt                     files that Ollama, LM Studio and Hugging Face hold
  $ darkbloom-provider models plan --as "M2 16GB"`,
    );
  command
    .command('list', { isDefault: true })
    .description('models on this machine')
    .option('--json', JSON_HELP)
    .action(list);
  command.command('catalog').description('models that can be downloaded').option('--json', JSON_HELP).action(catalog);
  command
    .command('download')
    .description('fetch a model; goes on where an earlier try ended')
    .argument('<model>')
    .action(download);
  command
    .command('adopt')
    .description('use a file of another application in place; without a name, list what there is')
    .argument('[name]')
    .option('--json', 'the list as one JSON object')
    .action(adoptCommand);
  command.command('verify').description('hash the files of a downloaded model anew').argument('<model>').action(verify);
  command
    .command('remove')
    .description('delete a downloaded model, forget an adopted one')
    .argument('<model>')
    .action(remove);
  command
    .command('plan')
    .description('which models fit, with the sum: weights, KV cache, compute, reserve')
    .option('--as <mac>', 'for another Mac, for example "M2 16GB"')
    .option('--json', JSON_HELP)
    .action(plan);
  return command;
}

interface Here {
  home: Home;
  settings: Settings;
  models: CatalogModel[];
}

function here(): Here {
  const home = findHome(environment);
  return { home, settings: loadSettings(home, environment, {}), models: readCatalog() };
}

async function list({ json }: { json?: true }): Promise<void> {
  const { home, settings, models } = here();
  const installed = await installedModels(models, settings, home.folder);
  const { refused } = readPlaces(models, home.folder);
  const { slots, context_tokens: context } = settings.engine;
  const rows = installed.map((model) => {
    const tokens = Math.min(context, model.trainedContextTokens);
    const memoryBytes = footprint(model.shape, slots, tokens).totalBytes;
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
  for (const { id, reason } of refused) printHanging(`${style.yellow('not offered')} `, `${id}: ${reason}`);
}

function catalog({ json }: { json?: true }): void {
  const { home, models } = here();
  const ready = new Set(readPlaces(models, home.folder).ready.map(({ id }) => id));
  const rows = models.flatMap((model) =>
    model.builds.map((build) => ({
      alias: model.alias,
      build: build.id,
      quantization: build.quantization,
      size_bytes: sizeOf(build),
      context_tokens: build.context_tokens,
      min_ram_gb: model.min_ram_gb,
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
}

async function download(name: string): Promise<void> {
  const { home, settings, models } = here();
  const build = hostedBuild(name, models);
  const stop = listenForStop();
  const stopped = new AbortController();
  void stop.asked.then(() =>
    stopped.abort(new DarkbloomError('cancelled', 'Stopped. The same command goes on from here.')),
  );
  const line = progressLine(build.id);
  try {
    await downloadBuild(build, {
      homeFolder: home.folder,
      signal: stopped.signal,
      endpoints: [settings.models.download_from],
      onProgress: ({ doneBytes, totalBytes, bytesPerSecond, secondsLeft }) => {
        const rate = bytesPerSecond === 0 ? '' : `, ${inWords(bytesPerSecond)}/s`;
        const left = secondsLeft === undefined ? '' : `, ${secondsLeft} s left`;
        line.show(doneBytes / totalBytes, `${inWords(doneBytes)} of ${inWords(totalBytes)}${rate}${left}`);
      },
    });
  } finally {
    line.end();
  }
  printDone(`${build.id} is here, its hash as the catalogue says. ${RESTART}`);
}

/** The build that a name stands for: an alias its first, or a build id.
 *  @throws DarkbloomError `model_not_found` with the nearest name. */
function hostedBuild(name: string, models: readonly CatalogModel[]): HostedBuild {
  const all = models.flatMap(({ alias, builds }) => builds.map((build) => ({ alias, build })));
  const found = all.find(({ build }) => build.id === name) ?? all.find(({ alias }) => alias === name);
  if (found === undefined) throw noSuchModel(name, models);
  if (found.build.source === 'package') {
    throw new DarkbloomError('usage', `${name} is part of this package: there is nothing to download.`);
  }
  return found.build;
}

function noSuchModel(name: string, models: readonly CatalogModel[]): DarkbloomError {
  const meant = nearest(
    name,
    models.map(({ alias }) => alias),
  );
  const hint = meant === undefined ? '`darkbloom-provider models catalog` lists all.' : `Did you mean ${meant}?`;
  return new DarkbloomError('model_not_found', `The catalogue has no model '${name}'. ${hint}`);
}

async function adoptCommand(name: string | undefined, { json }: { json?: true }): Promise<void> {
  if (name !== undefined && json === true) throw new DarkbloomError('usage', '--json lists: leave the name out.');
  const { home, models } = here();
  const folders = {
    userHome: homedir(),
    huggingFaceHome: environment['HF_HOME'],
    ollamaModels: environment['OLLAMA_MODELS'],
  };
  const { candidates, unusable } = await findCandidates(folders, models);
  if (name === undefined) {
    const output = { schema_version: 1 as const, candidates: candidates.map(candidateOutput), unusable };
    if (json === true) printJson<ModelsAdoptOutput>(output);
    else printCandidates(candidates, unusable);
    return;
  }
  const candidate = candidates.find((each) => each.name === name || each.paths.includes(name));
  if (candidate === undefined) {
    throw new DarkbloomError(
      'model_not_found',
      `No application holds '${name}'. \`models adopt\` lists what there is.`,
    );
  }
  const line = progressLine(`hashing ${candidate.name}`);
  try {
    const onProgress = (done: number, total: number) =>
      line.show(done / total, `${inWords(done)} of ${inWords(total)}`);
    const { alias, id } = await adopt(candidate, { homeFolder: home.folder, catalog: models, onProgress });
    line.end();
    printDone(`${alias} (${id}) is used where it lies. ${RESTART}`);
  } finally {
    line.end();
  }
}

function printCandidates(
  candidates: readonly Candidate[],
  unusable: readonly { path: string; reason: string }[],
): void {
  if (candidates.length === 0) print('Ollama, LM Studio and the Hugging Face cache hold no GGUF model here.');
  else {
    const rows = candidates.map((each) => [each.name, each.foundIn, each.quantization, inWords(each.sizeBytes)]);
    printTable({ head: ['name', 'found in', 'build', 'size'], rows, spare: ['build', 'found in'] });
    print('Use one with: darkbloom-provider models adopt NAME');
  }
  for (const { path, reason } of unusable) printHanging(`${style.yellow('cannot be used')} `, `${path}: ${reason}`);
}

async function verify(name: string): Promise<void> {
  const { home, models } = here();
  const build = hostedBuild(name, models);
  const problems = await verifyBuild(home.folder, build);
  if (problems.length > 0) throw new DarkbloomError('model_corrupt', problems.join(' '));
  printDone(`Every file of ${build.id} has the hash of the catalogue.`);
}

function remove(name: string): void {
  const { home, models } = here();
  const { ready, refused } = readPlaces(models, home.folder);
  const placed = [...ready, ...refused].find((each) => each.id === name || ('alias' in each && each.alias === name));
  if (placed === undefined)
    throw new DarkbloomError('model_not_found', `'${name}' was neither downloaded nor adopted here.`);
  removePlaced(home.folder, placed.id);
  const isAdopted = 'from' in placed && placed.from !== 'download';
  printDone(isAdopted ? `${placed.id} is forgotten; its file stays where it is.` : `${placed.id} is deleted.`);
}

async function plan({ as, json }: { as?: string; json?: true }): Promise<void> {
  const { settings, models } = here();
  const { slots: rows, context_tokens: contextTokens } = settings.engine;
  const { name, limitBytes } = await machineToPlan(as);
  const planned = planFor({ catalog: models, limitBytes, rows, contextTokens });
  if (json === true) printJson<ModelsPlanOutput>(planOutput(name, planned));
  else printPlan(name, planned);
}

async function machineToPlan(as: string | undefined): Promise<{ name: string; limitBytes: number }> {
  if (as === undefined) {
    const { engineLimitBytes } = await readMemory(systemCommands, process.platform);
    return { name: 'this machine', limitBytes: engineLimitBytes };
  }
  const { name, memoryBytes } = parseMac(as);
  return { name, limitBytes: macEngineLimit(memoryBytes, undefined) };
}

function printPlan(name: string, { limitBytes, lines, recommended }: Plan): void {
  const gib = (bytes: number) => (bytes / GIB).toFixed(1);
  printHanging('', `${name}: models may take ${gib(limitBytes)} GiB together (GiB in the table).`);
  printTable({
    head: ['model', 'build', 'weights', 'KV cache', 'compute', 'reserve', 'needs', ''],
    rows: lines.map((line) => [
      line.alias,
      line.quantization,
      gib(line.sum.weightBytes),
      gib(line.sum.kvBytes),
      gib(line.sum.computeBytes),
      gib(line.sum.reserveBytes),
      `${line.isEstimate ? 'about ' : ''}${gib(line.sum.neededBytes)}`,
      verdict(line),
    ]),
    spare: ['reserve', 'compute', 'KV cache', 'weights'],
  });
  if (recommended === undefined)
    print('Nothing of the catalogue fits. A smaller own GGUF file may: `config set models.files.NAME PATH`.');
  else print(`Recommended: darkbloom-provider models download ${recommended.alias}`);
  if (lines.some(({ isEstimate }) => isEstimate))
    print(style.dim('about: the catalogue does not know its cache, the sum is an estimate'));
}

function verdict({ fits, leftBytes, rows, contextTokens }: PlanLine): string {
  switch (fits) {
    case 'as_set':
      return 'fits';
    case 'smaller':
      return `fits with ${rows} × ${contextTokens}`;
    case 'no':
      return `${(-leftBytes / GIB).toFixed(1)} missing`;
    default:
      return fits satisfies never;
  }
}
