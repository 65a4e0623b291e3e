import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { downloadBuild } from '../../src/models/download.js';
import { buildFolder, filePlace, readPlaces } from '../../src/models/places.js';
import { hostedModel, QUICK_LIMITS, SEGMENT_BYTES, seededBytes, serve } from '../support/hosted-build.js';
import { downloadInChild, killAndResume } from '../support/kill-points.js';
import { RangeServer } from '../support/range-server.js';
import { TemporaryHome } from '../support/temporary-home.js';

/** Points at which a downloading process is killed: a sample of what was tried with many more. */
const KILL_POINTS = 5;
const SEED = 3;
/** Segments in work when the process died are fetched again. */
const LOST_AT_MOST_BYTES = 5 * SEGMENT_BYTES;

const FILE = 'story.gguf';
const content = seededBytes(1, 20 * SEGMENT_BYTES + 11);
const files = new Map([[FILE, content]]);
const { model, build } = hostedModel(files);

/** One download, in a home of its own, from a server of its own. */
class Story implements AsyncDisposable {
  readonly #temporary = new TemporaryHome();
  readonly server: RangeServer;
  readonly homeFolder: string;

  constructor(server: RangeServer, homeFolder?: string) {
    this.server = server;
    this.homeFolder = homeFolder ?? this.#temporary.home.folder;
    serve(server, files);
  }

  static async begin(homeFolder?: string): Promise<Story> {
    return new Story(await RangeServer.listen(), homeFolder);
  }

  get place(): string {
    return join(buildFolder(this.homeFolder, build.id), FILE);
  }

  get options() {
    return { homeFolder: this.homeFolder, endpoints: [this.server.url] };
  }

  run(wanted = build): Promise<void> {
    return downloadBuild(wanted, { ...this.options, limits: QUICK_LIMITS });
  }

  /** Nothing that could be taken for the model. */
  expectNothing(): void {
    expect(existsSync(this.place)).toBe(false);
    expect(readPlaces([model], this.homeFolder).ready).toEqual([]);
  }

  expectRight(): void {
    expect(readFileSync(this.place).equals(content)).toBe(true);
    expect(readPlaces([model], this.homeFolder)).toMatchObject({ ready: [{ id: build.id }], refused: [] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    this.#temporary[Symbol.dispose]();
  }
}

test(`killed at ${KILL_POINTS} points, a download goes on where it was and ends right`, async () => {
  const stories = await killAndResume(SEED, KILL_POINTS);
  for (const story of stories) {
    expect(story).toMatchObject({ afterResume: 'right' });
    expect(story.afterKill).not.toBe('wrong');
    const sent = Math.min(1, story.point) * story.totalBytes;
    expect(story.resumedBytes).toBeLessThanOrEqual(story.totalBytes - sent + LOST_AT_MOST_BYTES);
  }
});

test('a damaged segment: a clear error and no file, then the right one', async () => {
  await using story = await Story.begin();
  story.server.fault = ({ before }) => (before === 5 ? { kind: 'corrupt' } : undefined);
  await expect(story.run()).rejects.toMatchObject({ code: 'model_corrupt' });
  story.expectNothing();
  await story.run();
  story.expectRight();
});

test('a server without ranges: one stream, and the right file', async () => {
  await using story = await Story.begin();
  story.server.ranges = false;
  await story.run();
  story.expectRight();
});

test('a file with another hash than the catalogue says: a clear error with both hashes, and no file', async () => {
  await using story = await Story.begin();
  const other = seededBytes(99, content.length);
  serve(story.server, new Map([[FILE, other]]));
  await expect(story.run()).rejects.toThrow(/its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}/u);
  story.expectNothing();
  expect(readdirSync(buildFolder(story.homeFolder, build.id))).toEqual([]);
});

test('a source that has lost the file: the mirror gives it', async () => {
  await using story = await Story.begin();
  await using mirror = await RangeServer.listen();
  serve(mirror, files, '/mirror');
  story.server.files.clear();
  await story.run(hostedModel(files, { mirrors: [`${mirror.url}/mirror`] }).build);
  story.expectRight();
  expect(story.server.requests).toHaveLength(1);
});

test('a source that fails in the middle: the mirror gives the rest', async () => {
  await using story = await Story.begin();
  await using mirror = await RangeServer.listen();
  serve(mirror, files, '/mirror');
  story.server.fault = ({ before }) => (before >= 8 ? { kind: 'status', status: 500 } : undefined);
  await story.run(hostedModel(files, { mirrors: [`${mirror.url}/mirror`] }).build);
  story.expectRight();
  const fromMirror = mirror.requests.length;
  expect(fromMirror).toBeGreaterThan(0);
  expect(fromMirror).toBeLessThan(21);
});

describe('two downloads of one model', () => {
  test('at once: one process goes on, the other one says so', async () => {
    await using story = await Story.begin();
    story.server.pauseMs = 5;
    const started = new Promise<void>((resolve) => (story.server.onSent = () => resolve()));
    const { child, ended } = downloadInChild(build, story.options);
    await started;
    await expect(story.run()).rejects.toMatchObject({
      code: 'already_running',
      message: expect.stringContaining(`Another process (pid ${child.pid ?? 0}) is downloading this file.`) as string,
    });
    expect(await ended).toBe('done');
    story.expectRight();
  });

  test('many that start together: the right file, and nothing but clear errors', async () => {
    await using story = await Story.begin();
    const ends = await Promise.all(Array.from({ length: 4 }, () => downloadInChild(build, story.options).ended));
    expect(ends).toContain('done');
    expect(ends.every((end) => end === 'done' || end === 'already_running')).toBe(true);
    story.expectRight();
  });

  test('one after the other was killed: its lock does not keep the second one away', async () => {
    await using story = await Story.begin();
    story.server.pauseMs = 5;
    const { child, ended } = downloadInChild(build, story.options);
    story.server.onSent = (bytes) => bytes > 6 * SEGMENT_BYTES && child.kill('SIGKILL');
    await ended;
    story.server.onSent = () => undefined;
    story.expectNothing();
    await story.run();
    story.expectRight();
  });
});

/** A small disk of its own, if this process may mount one. */
class SmallDisk implements Disposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static mount(bytes: number): SmallDisk | undefined {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
    const folder = mkdtempSync(join(tmpdir(), 'small-disk-'));
    try {
      execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'ignore' });
      return new SmallDisk(folder);
    } catch {
      rmSync(folder, { recursive: true });
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    execFileSync('/bin/umount', [this.folder]);
    rmSync(this.folder, { recursive: true });
  }
}

const canMount = (() => {
  using disk = SmallDisk.mount(64 * 1024);
  return disk !== undefined;
})();

describe.skipIf(!canMount)('a full disk (needs the right to mount a small one)', () => {
  const roomy = 2 * content.length;
  function mounted(bytes: number): SmallDisk {
    const disk = SmallDisk.mount(bytes);
    if (disk === undefined) throw new Error('no disk could be mounted');
    return disk;
  }

  test('from the start: nothing is fetched, and both numbers are said', async () => {
    using disk = mounted(Math.floor(content.length / 2));
    await using story = await Story.begin(disk.folder);
    await expect(story.run()).rejects.toMatchObject({
      code: 'disk_full',
      message: expect.stringMatching(/: 1\.31 MB are still to come, \d+\.\d+ kB are free\. Free /u) as string,
    });
    expect(story.server.requests).toEqual([]);
    story.expectNothing();
  });

  test('in the middle: what came is kept and said; with room again it goes on', async () => {
    using disk = mounted(roomy);
    await using story = await Story.begin(disk.folder);
    const filler = join(disk.folder, 'filler');
    story.server.pauseMs = 2;
    story.server.onSent = (bytes) => {
      if (bytes > 8 * SEGMENT_BYTES && !existsSync(filler)) fill(filler);
    };
    await expect(story.run()).rejects.toMatchObject({
      code: 'disk_full',
      message: expect.stringMatching(
        /became full while story\.gguf came\. \d+\.\d+ kB of 1\.31 MB were kept\. /u,
      ) as string,
    });
    story.expectNothing();
    rmSync(filler);
    story.server.onSent = () => undefined;
    story.server.requests.length = 0;
    await story.run();
    story.expectRight();
    expect(story.server.requests.length).toBeLessThan(17);
  });

  /** Takes all the room that is left. */
  function fill(path: string): void {
    for (let bytes = roomy; bytes >= 4096; bytes = Math.floor(bytes / 2)) {
      try {
        writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' });
      } catch {
        // no room for so much: try less
      }
    }
  }
});

test('the place of a file is inside its home', () => {
  expect(filePlace('/home', build, build.files[0] ?? { path: '', size_bytes: 0, sha256: '' })).toBe(
    '/home/models/local-story-f16/story.gguf',
  );
});
