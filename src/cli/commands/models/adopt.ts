import { homedir } from 'node:os';
import { environment, type Home, type Settings } from '../../../config.js';
import { DarkbloomError } from '../../../errors.js';
import { adopt, findCandidates, type Candidate } from '../../../models/adopt.js';
import { inWords } from '../../../util/byte-words.js';
import type { CatalogModel } from '../../../models/catalog.js';
import { printJson } from '../../json-output.js';
import { candidateOutput, type ModelsAdoptOutput } from '../../models-output.js';
import { progressLine } from '../../progress-line.js';
import { printHanging } from '../../screen.js';
import { print, printDone, style } from '../../style.js';
import { printTable } from '../../table.js';
import { here, RESTART } from './here.js';

export async function adoptCommand(name: string | undefined, { json }: { json?: true }): Promise<void> {
  if (name !== undefined && json === true) throw new DarkbloomError('usage', '--json lists: leave the name out.');
  const { home, settings, models } = here();
  const { candidates, unusable } = await candidatesHere(models);
  if (name === undefined) {
    const output = { schema_version: 1 as const, candidates: candidates.map(candidateOutput), unusable };
    if (json === true) printJson<ModelsAdoptOutput>(output);
    else printCandidates(candidates, unusable);
    return;
  }
  const { alias, id } = await adoptHere(candidateOf(name, candidates), home, settings, models);
  printDone(`${alias} (${id}) is used where it lies. ${RESTART}`);
}

/** What the other applications of this user hold. */
export function candidatesHere(models: readonly CatalogModel[]): ReturnType<typeof findCandidates> {
  const folders = {
    userHome: homedir(),
    huggingFaceHome: environment['HF_HOME'],
    ollamaModels: environment['OLLAMA_MODELS'],
  };
  return findCandidates(folders, models);
}

/** Hashes a file of another application with progress on stderr, and uses it in place. */
export async function adoptHere(
  candidate: Candidate,
  home: Home,
  settings: Settings,
  catalog: readonly CatalogModel[],
): ReturnType<typeof adopt> {
  const line = progressLine(`hashing ${candidate.name}`);
  const onProgress = (done: number, total: number) => line.show(done / total, `${inWords(done)} of ${inWords(total)}`);
  const namesInSettings = Object.keys(settings.models.files);
  try {
    return await adopt(candidate, { homeFolder: home.folder, catalog, namesInSettings, onProgress });
  } finally {
    line.end();
  }
}

/** The one of that name or path.
 *  @throws DarkbloomError `model_not_found`, `usage` when the name is that of several. */
function candidateOf(name: string, candidates: readonly Candidate[]): Candidate {
  const [candidate, ...others] = candidates.filter((each) => each.name === name || each.paths.includes(name));
  if (candidate === undefined) {
    throw new DarkbloomError(
      'model_not_found',
      `No application holds '${name}'. \`models adopt\` lists what there is.`,
    );
  }
  if (others.length > 0) {
    const paths = [candidate, ...others].map((each) => each.paths[0] ?? '');
    throw new DarkbloomError('usage', `Several files are called '${name}'. Name one by its path: ${paths.join(', ')}.`);
  }
  return candidate;
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
