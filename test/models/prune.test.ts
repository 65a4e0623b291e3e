import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lockDownload } from '../../src/models/download-lock.js';
import { buildFolder, filePlace, lockPlace, seenNow, writeAdopted, writeVerified } from '../../src/models/places.js';
import { findLeftovers, removeLeftovers, type Leftover } from '../../src/models/prune.js';
import { downloadInChild } from '../support/kill-points.js';
import { hostedModel, SEGMENT_BYTES, seededBytes, serve, sha256 } from '../support/hosted-build.js';
import { RangeServer } from '../support/range-server.js';
import { TemporaryHome } from '../support/temporary-home.js';

const content = seededBytes(11, 6 * SEGMENT_BYTES);
const files = new Map([['story.gguf', content]]);
const { model, build } = hostedModel(files);
const [file = { path: '', size_bytes: 0, sha256: '' }] = build.files;
const NOW = Date.UTC(2030, 0, 1);

let temporary: TemporaryHome;
let homeFolder: string;
let place: string;
beforeEach(() => {
  temporary = new TemporaryHome();
  homeFolder = temporary.home.folder;
  place = filePlace(homeFolder, build, file);
});
afterEach(() => temporary[Symbol.dispose]());

function put(path: string, data: string | Buffer = 'x'): string {
  const whole = join(homeFolder, path);
  mkdirSync(dirname(whole), { recursive: true });
  writeFileSync(whole, data);
  return whole;
}

const options = (ownFiles: readonly string[] = []) => ({ catalog: [model], homeFolder, ownFiles, now: NOW });
const found = (ownFiles?: readonly string[]) => findLeftovers(options(ownFiles)).found;
const short = (leftovers: readonly Leftover[]) =>
  leftovers.map(({ path, kind, sizeBytes }) => [path.slice(homeFolder.length + 1), kind, sizeBytes]);

/** As a download leaves it. */
function putDownloaded(): void {
  put('models/local-story-f16/story.gguf', content);
  writeVerified(place, file.sha256);
}

function adopted(name: string, path: string): void {
  writeAdopted(homeFolder, {
    schema_version: 1,
    id: `local/${name}`,
    alias: name,
    display_name: name,
    found_in: 'ollama',
    files: [{ path, ...seenNow(path, file.sha256) }],
  });
}

describe('nothing is a leftover', () => {
  test('in a home without models, nor of a whole download and an adopted file', () => {
    expect(findLeftovers(options())).toEqual({ found: [], busy: [] });
    putDownloaded();
    adopted('mine', put('elsewhere.gguf'));
    put('models/.DS_Store');
    expect(findLeftovers(options())).toEqual({ found: [], busy: [] });
  });

  test('that the settings name, wherever it lies, with all its parts', () => {
    const loose = put('models/own.gguf');
    const inside = put('models/my-files/big-00001-of-00002.gguf');
    put('models/my-files/big-00002-of-00002.gguf');
    put('models/my-files/notes.txt');
    expect(short(found([loose, inside]))).toEqual([['models/my-files/notes.txt', 'not_in_catalogue', 1]]);
    symlinkSync(homeFolder, join(homeFolder, 'same'));
    expect(found([loose, inside].map((path) => path.replace(homeFolder, join(homeFolder, 'same'))))).toHaveLength(1);
  });

  test('that was adopted from this very folder', () => {
    adopted('mine', put('models/cache/mine.gguf'));
    expect(found()).toEqual([]);
  });

  test('that is the right size and was never verified: it may be the model', () => {
    put('models/local-story-f16/story.gguf', content);
    expect(found()).toEqual([]);
  });
});

describe('a leftover is', () => {
  test('what an unfinished download left, once nobody downloads', async () => {
    await using server = await RangeServer.listen();
    serve(server, files);
    server.pauseMs = 20;
    const { child, ended } = downloadInChild(build, { homeFolder, endpoints: [server.url] });
    await new Promise<void>((resolve) => {
      server.onSent = (bytes) => bytes > 5 * SEGMENT_BYTES && resolve();
    });
    const folder = buildFolder(homeFolder, build.id);
    expect(findLeftovers(options())).toEqual({ found: [], busy: [{ path: folder, pid: child.pid }] });
    child.kill('SIGKILL');
    await ended;
    const names = short(found()).map(([path]) => path);
    expect(names).toEqual(expect.arrayContaining(['models/local-story-f16/story.gguf.part']));
    expect(names.every((path) => String(path).startsWith('models/local-story-f16/'))).toBe(true);
    expect(findLeftovers(options()).busy).toEqual([]);
    removeLeftovers(found(), options());
    expect(readdirSync(join(homeFolder, 'models'))).toEqual([]);
  });

  test('a build that the catalogue does not know, and a file that nothing uses', () => {
    put('models/local-old-q4/old.gguf', Buffer.alloc(70));
    put('models/local-old-q4/old.gguf.verified', Buffer.alloc(7));
    put('models/stray.gguf', Buffer.alloc(5));
    put('models/local-story-f16/other.gguf', Buffer.alloc(3));
    expect(short(found())).toEqual([
      ['models/local-old-q4', 'not_in_catalogue', 77],
      ['models/local-story-f16/other.gguf', 'unknown', 3],
      ['models/stray.gguf', 'unknown', 5],
    ]);
  });

  test('a file that was verified as another one than the catalogue means now', () => {
    const old = put('models/local-story-f16/story.gguf', 'old');
    writeVerified(old, sha256(Buffer.from('old')));
    expect(short(found()).map(([path, kind]) => [path, kind])).toEqual([
      ['models/local-story-f16/story.gguf', 'superseded'],
      ['models/local-story-f16/story.gguf.verified', 'superseded'],
    ]);
    expect(removeLeftovers(found(), options())).toHaveLength(2);
    expect(readdirSync(join(homeFolder, 'models'))).toEqual([]);
  });

  test('a record whose file is gone, or that nobody can read', () => {
    putDownloaded();
    rmSync(place);
    const foreign = put('elsewhere.gguf');
    adopted('gone', foreign);
    rmSync(foreign);
    put('models/adopted/broken.json', '{');
    const aside = put('models/adopted/a.json.0123.tmp');
    utimesSync(aside, NOW / 1000 - 3_600, NOW / 1000 - 3_600);
    const fresh = put('models/adopted/b.json.4567.tmp');
    utimesSync(fresh, NOW / 1000 - 1, NOW / 1000 - 1);
    expect(short(found()).map(([path, kind]) => [path, kind])).toEqual([
      ['models/adopted/a.json.0123.tmp', 'unfinished'],
      ['models/adopted/broken.json', 'unknown'],
      ['models/adopted/local-gone.json', 'record_without_file'],
      ['models/local-story-f16/story.gguf.verified', 'record_without_file'],
    ]);
    expect(found().find(({ path }) => path.endsWith('local-gone.json'))?.reason).toContain(foreign);
    expect(removeLeftovers(found(), options())).toHaveLength(4);
    expect(found()).toEqual([]);
    expect(existsSync(fresh)).toBe(true);
  });
});

describe('removing', () => {
  test('a link removes the link: what it leads to is not ours', () => {
    const foreign = put('of-another-program/model.gguf');
    mkdirSync(join(homeFolder, 'models'));
    symlinkSync(dirname(foreign), join(homeFolder, 'models/linked'));
    expect(short(found()).map(([path, kind]) => [path, kind])).toEqual([['models/linked', 'unknown']]);
    removeLeftovers(found(), options());
    expect(readdirSync(join(homeFolder, 'models'))).toEqual([]);
    expect(existsSync(foreign)).toBe(true);
  });

  test('leaves what is used, or downloaded, by now', () => {
    const own = put('models/own.gguf');
    const part = put('models/local-story-f16/story.gguf.part');
    const listed = found();
    expect(listed).toHaveLength(2);
    using _lock = lockDownload(lockPlace(dirname(part)));
    expect(removeLeftovers(listed, options([own]))).toEqual([]);
    expect(existsSync(own) && existsSync(part)).toBe(true);
  });
});
