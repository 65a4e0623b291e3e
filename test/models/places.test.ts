import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadSettings } from '../../src/config.js';
import { weightHash } from '../../src/models/catalog.js';
import { lockDownload } from '../../src/models/download-lock.js';
import {
  buildFolder,
  filePlace,
  lockPlace,
  readPlaces,
  removePlaced,
  seenNow,
  verifyBuild,
  verifyPlaced,
  writeAdopted,
  writeVerified,
} from '../../src/models/places.js';
import { installedModels } from '../../src/models/store.js';
import { readFileSync } from 'node:fs';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { hostedModel, sha256 } from '../support/hosted-build.js';
import { TemporaryHome } from '../support/temporary-home.js';

const DEMO = join(PACKAGE_ROOT, 'assets/darkbloom-tiny-chat.gguf');
const demoBytes = readFileSync(DEMO);
const { model, build } = hostedModel(new Map([['story.gguf', demoBytes]]));
const [file = { path: '', size_bytes: 0, sha256: '' }] = build.files;

let temporary: TemporaryHome;
let homeFolder: string;
let path: string;
beforeEach(() => {
  temporary = new TemporaryHome();
  homeFolder = temporary.home.folder;
  path = filePlace(homeFolder, build, file);
});
afterEach(() => temporary[Symbol.dispose]());

/** As a download left it a while ago: file systems tell times apart only from a few milliseconds on. */
function putDownloaded(): void {
  mkdirSync(dirname(path), { recursive: true });
  copyFileSync(DEMO, path);
  utimesSync(path, 1_700_000_000, 1_700_000_000);
  writeVerified(path, file.sha256);
}

/** The settings of a home without a file. */
const settings = () => loadSettings(temporary.home, {}, {});
const refusal = () => readPlaces([model], homeFolder).refused[0]?.reason;

describe('a downloaded build', () => {
  test('is offered when it was verified and has not changed', async () => {
    putDownloaded();
    expect(readPlaces([model], homeFolder)).toEqual({
      ready: [
        {
          id: 'local/story-f16',
          alias: 'story',
          displayName: 'Story',
          paths: [join(homeFolder, 'models/local-story-f16/story.gguf')],
          from: 'download',
          entry: { model, build },
        },
      ],
      refused: [],
    });
    expect(await installedModels([model], settings(), homeFolder)).toMatchObject([
      { id: 'local/story-f16', alias: 'story', path, quantization: 'F16', weightHash: weightHash(build.files) },
    ]);
  });

  test('is nothing to speak of when nobody downloaded it', async () => {
    expect(readPlaces([model], homeFolder)).toEqual({ ready: [], refused: [] });
    expect(await installedModels([model], settings(), homeFolder)).toEqual([]);
  });

  test.each<[string, () => void, RegExp]>([
    ['a file without a record', () => rmSync(`${path}.verified`), /was not verified/u],
    ['a record that is no record', () => writeFileSync(`${path}.verified`, '{}'), /was not verified/u],
    [
      'a file of the same size that was changed',
      () => writeFileSync(path, Buffer.alloc(demoBytes.length)),
      /was changed since/u,
    ],
    ['a file that was touched', () => utimesSync(path, 1, 1), /was changed since/u],
    ['a file cut short', () => writeFileSync(path, 'x'), /is not the file of the catalogue/u],
    [
      'another file with a record of its own',
      () => {
        writeFileSync(path, 'x');
        writeVerified(path, sha256(Buffer.from('x')));
      },
      /is not the file of the catalogue/u,
    ],
    ['no file', () => rmSync(path), /is missing/u],
    [
      'a part',
      () => {
        rmSync(path);
        writeFileSync(`${path}.part`, '');
      },
      /was not downloaded to its end/u,
    ],
  ])('is not offered with %s', async (_, spoil, reason) => {
    putDownloaded();
    spoil();
    expect(refusal()).toMatch(reason);
    expect(readPlaces([model], homeFolder).ready).toEqual([]);
    expect(await installedModels([model], settings(), homeFolder)).toEqual([]);
  });

  test('can be verified again', async () => {
    putDownloaded();
    utimesSync(path, 1, 1);
    expect(await verifyBuild(homeFolder, build)).toEqual([]);
    expect(readPlaces([model], homeFolder).ready).toHaveLength(1);
    writeFileSync(path, 'spoilt');
    expect(await verifyBuild(homeFolder, build)).toEqual([
      expect.stringContaining(`${path} is damaged: its SHA-256 is `),
    ]);
    rmSync(path);
    expect(await verifyBuild(homeFolder, build)).toEqual([`${path} is missing.`]);
  });

  test('can be removed', () => {
    putDownloaded();
    expect(removePlaced(homeFolder, build.id)).toEqual({ downloaded: true, adopted: false });
    expect(readdirSync(join(homeFolder, 'models'))).toEqual([]);
    expect(removePlaced(homeFolder, build.id)).toEqual({ downloaded: false, adopted: false });
  });

  test('is not removed under a process that downloads it', () => {
    putDownloaded();
    using _lock = lockDownload(lockPlace(buildFolder(homeFolder, build.id)));
    expect(() => removePlaced(homeFolder, build.id)).toThrow(`Another process (pid ${process.pid}) is downloading`);
    expect(readPlaces([model], homeFolder).ready).toHaveLength(1);
  });
});

describe('an adopted file', () => {
  let foreign: string;
  beforeEach(() => {
    foreign = join(homeFolder, 'elsewhere.gguf');
    copyFileSync(DEMO, foreign);
  });

  /** As adopting leaves it. */
  function putAdopted(id: string, alias: string, hash = file.sha256): void {
    writeAdopted(homeFolder, {
      schema_version: 1,
      id,
      alias,
      display_name: 'Mine',
      found_in: 'ollama',
      files: [{ path: foreign, ...seenNow(foreign, hash) }],
    });
  }

  test('is offered under an own id, without a hash that nobody pinned', async () => {
    putAdopted('local/mine-f16', 'mine');
    const [mine, ...others] = await installedModels([model], settings(), homeFolder);
    expect(others).toEqual([]);
    expect(mine).toMatchObject({ id: 'local/mine-f16', alias: 'mine', displayName: 'Mine', path: foreign });
    expect(mine).not.toHaveProperty('weightHash');
  });

  test('is offered under the id of the catalogue when it has its hash', async () => {
    putAdopted(build.id, 'story');
    expect(await installedModels([model], settings(), homeFolder)).toMatchObject([
      { id: build.id, path: foreign, weightHash: weightHash(build.files) },
    ]);
  });

  test('is not offered under the id of the catalogue with another hash', () => {
    putAdopted(build.id, 'story', sha256(Buffer.from('other')));
    expect(refusal()).toMatch(/not the build of the catalogue/u);
  });

  test.each<[string, () => void, RegExp]>([
    ['changed', () => utimesSync(foreign, 1, 1), /was changed since it was verified/u],
    ['removed by its application', () => rmSync(foreign), /is missing/u],
  ])('is not offered when it was %s', (_, spoil, reason) => {
    putAdopted('local/mine-f16', 'mine');
    spoil();
    expect(readPlaces([model], homeFolder)).toMatchObject({ ready: [], refused: [{ path: foreign }] });
    expect(refusal()).toMatch(reason);
  });

  test('stays where it is when it is removed here', () => {
    putAdopted('local/mine-f16', 'mine');
    expect(removePlaced(homeFolder, 'local/mine-f16')).toEqual({ downloaded: false, adopted: true });
    expect(readPlaces([model], homeFolder)).toEqual({ ready: [], refused: [] });
    expect(readFileSync(foreign).equals(demoBytes)).toBe(true);
  });

  test('is given up whatever its record is called', () => {
    putAdopted('local/mine-f16', 'mine');
    const adopted = join(homeFolder, 'models/adopted');
    renameSync(join(adopted, 'local-mine-f16.json'), join(adopted, 'copied.json'));
    expect(removePlaced(homeFolder, 'local/mine-f16')).toEqual({ downloaded: false, adopted: true });
    expect(readdirSync(adopted)).toEqual([]);
  });

  test('that was only touched is offered again once it is verified; another file is not', async () => {
    putAdopted('local/mine-f16', 'mine');
    utimesSync(foreign, 1_800_000_000, 1_800_000_000);
    expect(refusal()).toMatch(/was changed since it was verified/u);
    expect(await verifyPlaced(homeFolder, 'local/mine-f16', [model])).toEqual([]);
    expect(readPlaces([model], homeFolder).ready).toHaveLength(1);

    const other = Buffer.from(demoBytes);
    other.writeUInt8((other.at(-1) ?? 0) ^ 1, other.length - 1);
    writeFileSync(foreign, other);
    utimesSync(foreign, 1_800_000_000, 1_800_000_000); // nothing but its contents says so
    expect(await verifyPlaced(homeFolder, 'local/mine-f16', [model])).toEqual([
      expect.stringMatching(/is not the file any more that was adopted/u),
    ]);
    expect(readPlaces([model], homeFolder)).toMatchObject({ ready: [], refused: [{ alias: 'mine' }] });
  });

  test('gives way to a downloaded one and to a name in the settings', async () => {
    putDownloaded();
    putAdopted(build.id, 'story');
    putAdopted('local/mine-f16', 'mine');
    const flags = { 'models.files': { mine: DEMO } };
    const models = await installedModels([model], loadSettings(temporary.home, {}, flags), homeFolder);
    expect(models.map(({ id, path: used }) => [id, used])).toEqual([
      ['local/mine-f16', DEMO],
      [build.id, path],
    ]);
  });

  test('with a record that nobody can read is told', () => {
    mkdirSync(join(homeFolder, 'models/adopted'), { recursive: true });
    writeFileSync(join(homeFolder, 'models/adopted/broken.json'), '{');
    expect(refusal()).toMatch(/broken\.json cannot be read\. Remove it\./u);
    const [broken] = readPlaces([model], homeFolder).refused;
    expect(removePlaced(homeFolder, broken?.id ?? '')).toEqual({ downloaded: false, adopted: true });
    expect(readPlaces([model], homeFolder).refused).toEqual([]);
  });

  test('with a record that nobody can read does not take the downloaded files of that name along', () => {
    putDownloaded();
    mkdirSync(join(homeFolder, 'models/adopted'), { recursive: true });
    writeFileSync(join(homeFolder, 'models/adopted/local-story-f16.json'), '{');
    const [broken] = readPlaces([model], homeFolder).refused;
    expect(removePlaced(homeFolder, broken?.id ?? '')).toEqual({ downloaded: false, adopted: true });
    expect(readPlaces([model], homeFolder)).toMatchObject({ ready: [{ id: build.id }], refused: [] });
  });
});

test('a build lies in a folder of its own, whatever its id', () => {
  expect(buildFolder('/home', 'local/a/../../b')).toBe('/home/models/local-a-..-..-b');
});
