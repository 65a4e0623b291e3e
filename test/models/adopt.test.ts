import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { adopt, findCandidates, type Candidate } from '../../src/models/adopt.js';
import { readPlaces } from '../../src/models/places.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { hostedModel, sha256 } from '../support/hosted-build.js';
import { loopModel, randomModel, sayModel } from '../support/made-models.js';
import { TemporaryHome } from '../support/temporary-home.js';

const DEMO = join(PACKAGE_ROOT, 'assets/darkbloom-tiny-chat.gguf');
const demoHash = sha256(readFileSync(DEMO));
const { model, build } = hostedModel(new Map([['story.gguf', readFileSync(DEMO)]]));
const catalog = [model];

let user: TemporaryHome;
let provider: TemporaryHome;
let userHome: string;
let homeFolder: string;
beforeEach(() => {
  user = new TemporaryHome();
  provider = new TemporaryHome();
  userHome = user.home.folder;
  homeFolder = provider.home.folder;
});
afterEach(() => {
  user[Symbol.dispose]();
  provider[Symbol.dispose]();
});

function put(from: string, ...path: string[]): string {
  const place = join(userHome, ...path);
  mkdirSync(dirname(place), { recursive: true });
  copyFileSync(from, place);
  return place;
}

function write(text: string, ...path: string[]): void {
  const place = join(userHome, ...path);
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, text);
}

/** A model as `ollama pull` leaves it. */
function putOllama(name: string, from: string, hash = sha256(readFileSync(from))): string {
  const layers = [
    { mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${hash}`, size: 1 },
    { mediaType: 'application/vnd.ollama.image.template', digest: `sha256:${'0'.repeat(64)}`, size: 1 },
  ];
  write(JSON.stringify({ schemaVersion: 2, layers }), '.ollama/models/manifests', name);
  return put(from, '.ollama/models/blobs', `sha256-${hash}`);
}

/** A file as the Hugging Face tools leave it: a link in a snapshot to a blob named after its hash. */
function putHuggingFace(name: string, from: string): string {
  const repository = '.cache/huggingface/hub/models--someone--Story-GGUF';
  const blob = put(from, repository, 'blobs', sha256(readFileSync(from)));
  const link = join(userHome, repository, 'snapshots/abc', name);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(relative(dirname(link), blob), link);
  return link;
}

const find = async () => (await findCandidates({ userHome }, catalog)).candidates;
async function findOne(): Promise<Candidate> {
  const [candidate, ...others] = await find();
  expect(others).toEqual([]);
  if (candidate === undefined) throw new Error('nothing was found');
  return candidate;
}

describe('models of other applications', () => {
  test('a Mac without any has no candidates', async () => {
    expect(await findCandidates({ userHome }, catalog)).toEqual({ candidates: [], unusable: [] });
  });

  test('of Ollama are found by their manifests', async () => {
    const path = putOllama('registry.ollama.ai/library/story/1b', DEMO);
    putOllama('registry.ollama.ai/library/story/latest', DEMO);
    write('not a manifest', '.ollama/models/manifests/registry.ollama.ai/library/other/.DS_Store');
    expect(await findOne()).toEqual({
      name: 'story:1b',
      foundIn: 'ollama',
      paths: [path],
      sizeBytes: 3_590_208,
      quantization: 'F16',
      claimedSha256: [demoHash],
      likelyBuild: build.id,
    });
  });

  test.each(['.lmstudio/models', '.cache/lm-studio/models'])('of LM Studio are found in %s', async (folder) => {
    const path = put(DEMO, folder, 'someone/Story-GGUF/Story-F16.gguf');
    put(DEMO, folder, 'someone/Story-GGUF/mmproj-F16.gguf');
    write('', folder, 'someone/Story-GGUF/README.md');
    expect(await findOne()).toMatchObject({
      name: 'Story-F16',
      foundIn: 'lm-studio',
      paths: [path],
      likelyBuild: build.id,
    });
  });

  test('of the Hugging Face cache are found through their links', async () => {
    const path = putHuggingFace('Story-F16.gguf', DEMO);
    expect(await findOne()).toMatchObject({
      name: 'Story-F16',
      foundIn: 'hugging-face',
      paths: [path],
      claimedSha256: [demoHash],
    });
  });

  test('are found where HF_HOME and OLLAMA_MODELS say', async () => {
    putHuggingFace('Story-F16.gguf', DEMO);
    putOllama('registry.ollama.ai/someone/other/7b', randomModel());
    const elsewhere = {
      userHome: join(userHome, 'nobody'),
      huggingFaceHome: join(userHome, '.cache/huggingface'),
      ollamaModels: join(userHome, '.ollama/models'),
    };
    const { candidates } = await findCandidates(elsewhere, catalog);
    expect(candidates.map(({ name }) => name)).toEqual(['someone/other:7b', 'Story-F16']);
  });

  test('that several of them show are listed once', async () => {
    const link = putHuggingFace('Story-F16.gguf', DEMO);
    mkdirSync(join(userHome, '.lmstudio/models/someone/Story'), { recursive: true });
    symlinkSync(link, join(userHome, '.lmstudio/models/someone/Story/Story.gguf'));
    expect(await find()).toHaveLength(1);
  });

  test('that cannot run here are told with the reason', async () => {
    write('no model', '.lmstudio/models/someone/Broken/broken.gguf');
    put(DEMO, '.lmstudio/models/someone/Half/half-00001-of-00002.gguf');
    const { candidates, unusable } = await findCandidates({ userHome }, catalog);
    expect(candidates).toEqual([]);
    expect(unusable.map(({ reason }) => reason)).toEqual([
      expect.stringContaining('it is not a whole GGUF file'),
      expect.stringContaining('half-00002-of-00002.gguf cannot be used: there is no such file'),
    ]);
  });
});

describe('adopting', () => {
  const options = () => ({ homeFolder, catalog, namesInSettings: [] });

  test('a file with the hash of a build takes the id of the build and stays where it is', async () => {
    const path = put(DEMO, '.lmstudio/models/someone/Story/anything.gguf');
    const seen: number[] = [];
    const record = await adopt(await findOne(), { ...options(), onProgress: (done) => seen.push(done) });
    expect(record).toMatchObject({ id: build.id, alias: 'story', files: [{ path, sha256: demoHash }] });
    expect(seen.at(-1)).toBe(3_590_208);
    expect(readPlaces(catalog, homeFolder)).toMatchObject({
      ready: [{ id: build.id, paths: [path], from: 'lm-studio' }],
    });
  });

  test('a file that the catalogue does not know takes an id of its own', async () => {
    putOllama('registry.ollama.ai/library/My Model/7b', randomModel());
    const record = await adopt(await findOne(), options());
    expect(record).toMatchObject({ alias: 'my-model-7b', display_name: 'My Model:7b' });
    expect(record.id).toMatch(/^local\/my-model-7b-/u);
    expect(readPlaces(catalog, homeFolder).ready[0]).not.toHaveProperty('entry');
  });

  test('another file with the name of a model of the catalogue does not get that name', async () => {
    put(randomModel(), '.lmstudio/models/someone/Story/story.gguf');
    const record = await adopt(await findOne(), options());
    expect(record.alias).toBe('story-lm-studio');
  });

  test('two files of one name get two names, and both are offered', async () => {
    const [first, second] = [randomModel(), sayModel()];
    const ollama = putOllama('registry.ollama.ai/library/mine/latest', first);
    const studio = put(second, '.lmstudio/models/someone/Mine/mine-latest.gguf');
    const other = put(first, '.lmstudio/models/other/Mine/mine-latest.gguf');
    const aliases: string[] = [];
    for (const candidate of await find()) aliases.push((await adopt(candidate, options())).alias);
    expect(aliases).toEqual(['mine-latest', 'mine-latest-lm-studio', 'mine-latest-lm-studio-2']);
    const { ready } = readPlaces(catalog, homeFolder);
    expect(new Set(ready.map(({ alias }) => alias))).toEqual(new Set(aliases));
    expect(new Set(ready.flatMap(({ paths }) => paths))).toEqual(new Set([ollama, studio, other]));
  });

  test('a name of the settings is left to the settings', async () => {
    put(randomModel(), '.lmstudio/models/someone/Mine/mine.gguf');
    const record = await adopt(await findOne(), { ...options(), namesInSettings: ['mine'] });
    expect(record.alias).toBe('mine-lm-studio');
  });

  test('a file that was replaced and is adopted again keeps its name, and the old record goes', async () => {
    const path = put(randomModel(), '.lmstudio/models/someone/Mine/mine.gguf');
    const before = await adopt(await findOne(), options());
    copyFileSync(loopModel(), path);
    expect(readPlaces(catalog, homeFolder)).toMatchObject({ ready: [], refused: [{ alias: 'mine' }] });
    const after = await adopt({ ...(await findOne()), quantization: 'Q8_0' }, options());
    expect(after.alias).toBe('mine');
    expect(after.id).not.toBe(before.id);
    expect(readPlaces(catalog, homeFolder)).toMatchObject({ ready: [{ id: after.id }], refused: [] });
  });

  test('a file of the size of a build, but with other contents, is not announced as the build', async () => {
    const bytes = Buffer.from(readFileSync(DEMO));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    const path = put(DEMO, '.lmstudio/models/someone/Story/story.gguf');
    writeFileSync(path, bytes);
    const candidate = await findOne();
    expect(candidate.likelyBuild).toBe(build.id);
    expect((await adopt(candidate, options())).id).toBe('local/story-lm-studio-f16');
  });

  test('a blob that is not what its name says is refused', async () => {
    putOllama('registry.ollama.ai/library/story/1b', randomModel(), demoHash);
    const candidate = await findOne();
    expect(candidate.likelyBuild).toBe(build.id);
    await expect(adopt(candidate, options())).rejects.toMatchObject({
      code: 'model_corrupt',
      message: expect.stringContaining(`its name says ${demoHash}`) as string,
    });
    expect(readPlaces(catalog, homeFolder)).toEqual({ ready: [], refused: [] });
  });

  test('can be given up', async () => {
    put(DEMO, '.lmstudio/models/someone/Story/story.gguf');
    const candidate = await findOne();
    await expect(adopt(candidate, { ...options(), signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(readPlaces(catalog, homeFolder).ready).toEqual([]);
  });
});
