import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { backoffMs, DOWNLOAD_LIMITS, downloadBuild, roomProblem } from '../../src/models/download.js';
import { lockDownload } from '../../src/models/download-lock.js';
import { buildFolder, filePlace, readPlaces } from '../../src/models/places.js';
import { progressOf, withSample, type Progress, type Sample } from '../../src/models/progress.js';
import { isAllowed } from '../../src/models/range-request.js';
import { segmentsEndingIn, segmentsOf } from '../../src/models/segments.js';
import { hostedModel, QUICK_LIMITS, SEGMENT_BYTES, seededBytes, serve } from '../support/hosted-build.js';
import { RangeServer, type Fault, type SeenRequest } from '../support/range-server.js';
import { TemporaryHome } from '../support/temporary-home.js';

const FILE = 'story.gguf';
const content = seededBytes(7, 10 * SEGMENT_BYTES + 123);
const files = new Map([[FILE, content]]);
const { model, build } = hostedModel(files);

let temporary: TemporaryHome;
let server: RangeServer;
beforeEach(async () => {
  temporary = new TemporaryHome();
  server = await RangeServer.listen();
  serve(server, files);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  temporary[Symbol.dispose]();
});

const homeFolder = () => temporary.home.folder;
const place = () => filePlace(homeFolder(), build, build.files[0] ?? { path: '', size_bytes: 0, sha256: '' });
const download = (options: Partial<Parameters<typeof downloadBuild>[1]> = {}, wanted = build) =>
  downloadBuild(wanted, { homeFolder: homeFolder(), endpoints: [server.url], limits: QUICK_LIMITS, ...options });

/** The build is in its place, whole, verified, and nothing else is left beside it. */
function expectWhole(): void {
  expect(readFileSync(place()).equals(content)).toBe(true);
  expect(readPlaces([model], homeFolder())).toMatchObject({ ready: [{ id: build.id, from: 'download' }], refused: [] });
  expect(readdirSync(buildFolder(homeFolder(), build.id)).sort()).toEqual([FILE, `${FILE}.verified`]);
}

describe('a download', () => {
  test('fetches segments side by side and puts the file in its place', async () => {
    await download();
    expectWhole();
    expect(statSync(place()).mode & 0o777).toBe(0o600);
    const asked = server.requests.map(({ range }) => range?.[0]).sort((a = 0, b = 0) => a - b);
    expect(asked).toEqual(segmentsOf(content.length, SEGMENT_BYTES).map(({ start }) => start));
  });

  test('asks for nothing when the model is there already', async () => {
    await download();
    const before = server.requests.length;
    await download();
    expect(server.requests).toHaveLength(before);
  });

  test('tells its progress, which never goes back and ends at the whole', async () => {
    const seen: Progress[] = [];
    server.fault = ({ before }) => (before === 3 ? { kind: 'cut', afterBytes: 20_000 } : undefined);
    let now = 0;
    const clock = { now: () => (now += 60), after: () => ({ [Symbol.dispose]: () => undefined }) };
    await download({ onProgress: (progress) => seen.push(progress), clock });
    expect(seen.length).toBeGreaterThan(5);
    const done = seen.map(({ doneBytes }) => doneBytes);
    expect(done).toEqual([...done].sort((a, b) => a - b));
    expect(seen.at(-1)).toMatchObject({ doneBytes: content.length, totalBytes: content.length, secondsLeft: 0 });
  });

  test('of several files fetches those that are missing', async () => {
    const parts = new Map([1, 2, 3].map((part) => [`big-0000${part}-of-00003.gguf`, seededBytes(part, 100_000)]));
    const split = hostedModel(parts);
    serve(server, parts);
    await download({}, split.build);
    expect(readPlaces([split.model], homeFolder()).ready[0]?.paths.map((path) => readFileSync(path))).toEqual([
      ...parts.values(),
    ]);
    writeFileSync(filePlace(homeFolder(), split.build, split.build.files[1] ?? build.files[0]!), 'spoilt');
    server.requests.length = 0;
    await download({}, split.build);
    expect(new Set(server.requests.map(({ path }) => path.slice(-21)))).toEqual(
      new Set(['big-00002-of-00003.gguf'.slice(-21)]),
    );
    expect(readPlaces([split.model], homeFolder()).refused).toEqual([]);
  });

  test('is stopped by its signal, keeps what it has, and gives its lock back', { repeats: 4 }, async () => {
    const stop = new AbortController();
    server.pauseMs = 5;
    server.onSent = (bytes) => bytes > 3 * SEGMENT_BYTES && stop.abort();
    await expect(download({ signal: stop.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(buildFolder(homeFolder(), build.id))).not.toContain('download.lock');
    expect(existsSync(place())).toBe(false);
    expect(readPlaces([model], homeFolder()).refused[0]?.reason).toMatch(/not downloaded to its end/u);
    server.onSent = () => undefined;
    server.pauseMs = 0;
    await download();
    expectWhole();
  });
});

describe('a server that misbehaves', () => {
  const once = (fault: Fault) => (request: SeenRequest) => (request.before === 2 ? fault : undefined);
  test.each<[string, (request: SeenRequest) => Fault | undefined]>([
    ['cuts a connection', once({ kind: 'cut', afterBytes: 20_000 })],
    ['answers 503', once({ kind: 'status', status: 503 })],
    ['asks for patience', once({ kind: 'status', status: 429, headers: { 'retry-after': '0' } })],
    ['sends the whole file in place of a part', once({ kind: 'whole' })],
    ['cuts every connection at first', ({ before }) => (before < 2 ? { kind: 'cut', afterBytes: 9 } : undefined)],
  ])('and %s is asked again for the rest', async (_, fault) => {
    server.fault = fault;
    await download();
    expectWhole();
  });

  test('and stalls is asked again for the rest', async () => {
    server.fault = once({ kind: 'stall', afterBytes: 20_000 });
    await download({ limits: { ...QUICK_LIMITS, stallMs: 500, attempts: 20 } });
    expectWhole();
    expect(server.requests.length).toBeGreaterThan(11);
  });

  test('and has no ranges sends one stream', async () => {
    server.ranges = false;
    await download();
    expectWhole();
    expect(server.requests).toHaveLength(1);
  });

  test('and has no ranges begins again from the start when it is cut', async () => {
    server.ranges = false;
    server.fault = ({ before }) => (before === 0 ? { kind: 'cut', afterBytes: 3 * SEGMENT_BYTES + 5 } : undefined);
    await download();
    expectWhole();
    expect(server.requests).toHaveLength(2);
  });

  test('and damages a segment: the file is removed and a sentence says so; the next try is right', async () => {
    server.fault = ({ range }) => (range?.[0] === 4 * SEGMENT_BYTES ? { kind: 'corrupt' } : undefined);
    await expect(download()).rejects.toMatchObject({
      code: 'model_corrupt',
      message: expect.stringMatching(
        /^story\.gguf came damaged: .* It was removed\. Run the download again\.$/u,
      ) as string,
    });
    expect(readdirSync(buildFolder(homeFolder(), build.id))).toEqual([]);
    server.fault = () => undefined;
    await download();
    expectWhole();
  });

  test('and has another file of another size is left for the next source', async () => {
    const elsewhere = await RangeServer.listen();
    await using _mirror = elsewhere;
    serve(elsewhere, files, '/copies');
    const mirrored = hostedModel(files, { mirrors: [`${elsewhere.url}/copies/`] }).build;
    server.files.set('/someone/Story-GGUF/resolve/main/story.gguf', content.subarray(1));
    await download({}, mirrored);
    expectWhole();
    expect(server.requests).toHaveLength(1);
  });

  test.each([
    [404, 'it answers 404'],
    [401, 'it answers 401: the owner of the files may ask for an account'],
    [500, 'it answers 500'],
  ])('and answers %i to everything is named in the error', async (status, reason) => {
    server.fault = () => ({ kind: 'status', status });
    await expect(download()).rejects.toMatchObject({
      code: 'download_failed',
      message: expect.stringContaining(
        `story.gguf could not be downloaded (${new URL(server.url).host}: ${reason})`,
      ) as string,
    });
    expect(server.requests).toHaveLength(status === 500 ? 3 : 1);
  });

  test('redirects are followed, to hosts that may be asked', async () => {
    serve(server, files, '/cdn');
    server.fault = ({ path }) =>
      path.startsWith('/someone') ? { kind: 'redirect', to: '/cdn/story.gguf' } : undefined;
    await download();
    expectWhole();
    server.fault = () => ({ kind: 'redirect', to: 'http://files.example/story.gguf' });
    writeFileSync(place(), 'spoilt');
    await expect(download()).rejects.toThrow('http://files.example is not HTTPS');
  });
});

describe('the place of a file', () => {
  test('with a file of the right size that nobody verified: it is hashed, not believed', async () => {
    mkdirSync(buildFolder(homeFolder(), build.id), { recursive: true });
    writeFileSync(place(), content);
    await download();
    expect(server.requests).toHaveLength(0);
    expectWhole();
    writeFileSync(place(), Buffer.alloc(content.length));
    await download();
    expectWhole();
  });

  test('with a part and a journal of something else: it begins anew', async () => {
    mkdirSync(buildFolder(homeFolder(), build.id), { recursive: true });
    writeFileSync(`${place()}.part`, Buffer.alloc(content.length));
    for (const journal of ['', 'no JSON', '{}', JSON.stringify({ ...journalOf(content.length), sha256: 'other' })]) {
      writeFileSync(`${place()}.part.json`, journal);
      await download();
      expectWhole();
      writeFileSync(place(), '');
    }
  });

  const journalOf = (size_bytes: number) => ({
    schema_version: 1,
    size_bytes,
    sha256: build.files[0]?.sha256,
    segment_bytes: SEGMENT_BYTES,
    finished: segmentsOf(size_bytes, SEGMENT_BYTES).map(({ index }) => index),
  });

  test('with a journal that speaks of more than lies there: the rest is fetched', async () => {
    mkdirSync(buildFolder(homeFolder(), build.id), { recursive: true });
    writeFileSync(`${place()}.part`, content.subarray(0, 4 * SEGMENT_BYTES + 9));
    writeFileSync(`${place()}.part.json`, JSON.stringify(journalOf(content.length)));
    await download();
    expectWhole();
    expect(server.requests.map(({ range }) => range?.[0]).sort((a = 0, b = 0) => a - b)).toEqual(
      segmentsOf(content.length, SEGMENT_BYTES)
        .slice(4)
        .map(({ start }) => start),
    );
  });

  test('with a journal that is not true: the hash finds it out', async () => {
    mkdirSync(buildFolder(homeFolder(), build.id), { recursive: true });
    writeFileSync(`${place()}.part`, Buffer.alloc(content.length));
    writeFileSync(`${place()}.part.json`, JSON.stringify(journalOf(content.length)));
    await expect(download()).rejects.toMatchObject({ code: 'model_corrupt' });
    await download();
    expectWhole();
  });

  test('with the journal of a part that is gone: a new part is not taken for the old one', async () => {
    mkdirSync(buildFolder(homeFolder(), build.id), { recursive: true });
    const journal = `${place()}.part.json`;
    writeFileSync(journal, JSON.stringify(journalOf(content.length)));
    server.fault = () => ({ kind: 'status', status: 404 });
    await expect(download()).rejects.toMatchObject({ code: 'download_failed' }); // ended before a segment was whole
    expect(existsSync(journal)).toBe(false);
    server.fault = () => undefined;
    await download();
    expectWhole();
  });

  test('with the file of a process that was killed before it put the journal away: it goes', async () => {
    mkdirSync(buildFolder(homeFolder(), build.id), { recursive: true });
    writeFileSync(place(), content);
    writeFileSync(`${place()}.part.json`, JSON.stringify(journalOf(content.length)));
    await download();
    expectWhole();
    expect(server.requests).toEqual([]);
  });
});

describe('the lock of a download', () => {
  const lock = () => join(homeFolder(), 'download.lock');

  test('keeps a second one away and names who has it', () => {
    using _first = lockDownload(lock());
    expect(() => lockDownload(lock())).toThrow(`Another process (pid ${process.pid}) is downloading this file.`);
  });

  test('is given back', () => {
    lockDownload(lock())[Symbol.dispose]();
    expect(existsSync(lock())).toBe(false);
  });

  test.each([
    ['of a process that has ended', `${2 ** 22 + 1} x\n`],
    ['that nobody wrote to its end', ''],
  ])('%s is taken over', (_, text) => {
    writeFileSync(lock(), text);
    using _lock = lockDownload(lock());
    expect(readFileSync(lock(), 'utf8')).toMatch(new RegExp(`^${process.pid} `, 'u'));
  });
});

describe('the rules of a download', () => {
  test('segments cover a file once, in order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 3_000 }), (size, segment) => {
        const segments = segmentsOf(size, segment);
        expect(segments[0]?.start).toBe(0);
        expect(segments.at(-1)?.end).toBe(size);
        expect(segments.slice(1).every(({ start }, index) => start === segments[index]?.end)).toBe(true);
        const cut = Math.floor(size / 3);
        const ended = [...segmentsEndingIn(0, cut, size, segment), ...segmentsEndingIn(cut, size, size, segment)];
        expect(ended).toEqual(segments);
      }),
    );
  });

  test('progress never goes back, whatever is reported', () => {
    const steps = fc.array(fc.record({ afterMs: fc.nat(5_000), doneBytes: fc.nat(1_000) }), { minLength: 1 });
    fc.assert(
      fc.property(steps, (reported) => {
        let samples: Sample[] = [];
        let at = 0;
        let before = 0;
        for (const { afterMs, doneBytes } of reported) {
          samples = withSample(samples, { at: (at += afterMs), doneBytes });
          const progress = progressOf(samples, 1_000);
          expect(progress.doneBytes).toBeGreaterThanOrEqual(before);
          expect(progress.bytesPerSecond).toBeGreaterThanOrEqual(0);
          expect(progress.secondsLeft ?? 0).toBeGreaterThanOrEqual(0);
          before = progress.doneBytes;
        }
      }),
    );
  });

  test('rate and time left look at the last ten seconds', () => {
    const at = (seconds: number, doneBytes: number): Sample => ({ at: seconds * 1_000, doneBytes });
    const samples = [at(0, 0), at(30, 1_000), at(35, 2_000), at(40, 3_000)].reduce(withSample, []);
    expect(progressOf(samples, 5_000)).toEqual({
      doneBytes: 3_000,
      totalBytes: 5_000,
      bytesPerSecond: 200,
      secondsLeft: 10,
    });
    expect(progressOf([at(0, 7)], 10)).toEqual({ doneBytes: 7, totalBytes: 10, bytesPerSecond: 0 });
  });

  test('pauses between tries double up to a bound', () => {
    expect([1, 2, 3, 4, 5, 6, 7].map((attempt) => backoffMs(attempt, DOWNLOAD_LIMITS))).toEqual([
      500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000,
    ]);
  });

  test.each([
    [10, 20, 10, undefined],
    [
      5_000_000_000,
      4_500_000_000,
      0,
      'Not enough room on the disk: 5.00 GB are still to come, 4.50 GB are free. Free 500.00 MB and run it again.',
    ],
    [
      10,
      20,
      11,
      'Not enough room on the disk: 10 bytes are still to come, 20 bytes are free, and 11 bytes stay free. Free 1 bytes and run it again.',
    ],
  ])('%i bytes to come, %i free, %i to be kept: %s', (needed, free, keep, problem) => {
    expect(roomProblem(needed, free, keep)).toBe(problem);
  });

  test.each([
    ['https://huggingface.co/x', false, true],
    ['http://127.0.0.1:8000/x', false, true],
    ['http://localhost/x', false, true],
    ['http://[::1]/x', false, true],
    ['http://nas.local/x', false, false],
    ['http://nas.local/x', true, true],
    ['http://127.0.0.1.example/x', false, false],
    ['ftp://nas.local/x', true, false],
    ['file:///etc/passwd', true, false],
  ])('%s may be asked (plain HTTP meant: %s): %s', (url, plainHttp, allowed) => {
    expect(isAllowed(new URL(url), { plainHttp })).toBe(allowed);
  });
});
