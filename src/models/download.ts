import { readdirSync, rmSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { systemClock, type Clock } from '../util/clock.js';
import { makePrivateFolder } from '../util/files.js';
import { LinkedAbort } from '../util/linked-abort.js';
import { inWords } from '../util/byte-words.js';
import { sizeOf, sourcesOf, type CatalogFile, type HostedBuild, type Source } from './catalog.js';
import { lockDownload } from './download-lock.js';
import { sha256Of } from './file-hash.js';
import { journalOf, keptBytes, PartFile } from './part-file.js';
import { buildFolder, filePlace, fileProblem, lockPlace, partPlace, verifiedPlace, writeVerified } from './places.js';
import { progressOf, withSample, type Progress, type Sample } from './progress.js';
import { requestRange } from './range-request.js';
import { segmentsEndingIn, type Segment } from './segments.js';

/** Every bound of a download. */
export interface DownloadLimits {
  /** Bytes that are fetched by one request; so much at most is fetched twice after a kill, for each request. */
  segmentBytes: number;
  /** Requests at once. */
  parallelSegments: number;
  /** Tries of one segment at one source. */
  attempts: number;
  /** The pause before the second try; it doubles with each. */
  backoffMs: number;
  maxBackoffMs: number;
  /** So long without a byte ends a request. */
  stallMs: number;
  /** Bytes that stay free on the disk. */
  keepFreeBytes: number;
}

export const DOWNLOAD_LIMITS: DownloadLimits = {
  segmentBytes: 16 * 1024 * 1024,
  parallelSegments: 4,
  attempts: 5,
  backoffMs: 500,
  maxBackoffMs: 8_000,
  stallMs: 30_000,
  keepFreeBytes: 1024 ** 3,
};

const REPORT_EVERY_MS = 100;

export interface DownloadOptions {
  homeFolder: string;
  /** Hears how far it is, several times a second and at the end. The bytes done never go back. */
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** Hosts laid out like Hugging Face, in place of it. */
  endpoints?: readonly string[];
  limits?: Partial<DownloadLimits>;
  clock?: Clock;
}

/**
 * Brings all files of a build into the home. What an earlier run fetched is used; a file comes into its place whole and
 * with the hash of the catalogue, or not at all.
 *
 * @throws DarkbloomError `already_running` when another process downloads the build, `disk_full`, `download_failed`
 *   when no source gives a file, `model_corrupt` when what came is not the file. The signal's reason when it fires.
 */
export async function downloadBuild(build: HostedBuild, options: DownloadOptions): Promise<void> {
  const folder = buildFolder(options.homeFolder, build.id);
  makePrivateFolder(folder);
  using _lock = lockDownload(lockPlace(folder));
  for (const name of readdirSync(folder)) {
    // written aside by a process that was killed
    if (name.endsWith('.tmp')) rmSync(join(folder, name), { force: true });
  }
  await new Download(build, options).run();
}

class Download {
  readonly #build: HostedBuild;
  readonly #options: DownloadOptions;
  readonly #limits: DownloadLimits;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  /** Bytes of the files that are whole. */
  #wholeBytes = 0;
  /** Bytes of unfinished segments, by the segment's number. */
  readonly #inFlight = new Map<number, number>();
  #samples: Sample[] = [];

  constructor(build: HostedBuild, options: DownloadOptions) {
    this.#build = build;
    this.#options = options;
    this.#limits = { ...DOWNLOAD_LIMITS, ...options.limits };
    this.#clock = options.clock ?? systemClock;
    this.#signal = options.signal ?? new AbortController().signal;
  }

  async run(): Promise<void> {
    const missing: CatalogFile[] = [];
    for (const file of this.#build.files) {
      if (await this.#isThere(file)) this.#wholeBytes += file.size_bytes;
      else missing.push(file);
    }
    if (missing.length > 0) await this.#checkRoom(missing);
    for (const file of missing) await this.#fetch(file);
    this.#report(0, true);
  }

  /** True for a whole, verified file. One that nobody verified is hashed now, and removed if it is another one. */
  async #isThere(file: CatalogFile): Promise<boolean> {
    const path = filePlace(this.#options.homeFolder, this.#build, file);
    if (await this.#isRight(path, file)) {
      rmSync(journalOf(partPlace(path)), { force: true }); // of a process that was killed when the file was in its place
      return true;
    }
    rmSync(path, { force: true });
    rmSync(verifiedPlace(path), { force: true });
    return false;
  }

  async #isRight(path: string, file: CatalogFile): Promise<boolean> {
    if (fileProblem(path, file) === undefined) return true;
    if (statSync(path, { throwIfNoEntry: false })?.size !== file.size_bytes) return false;
    if ((await sha256Of(path, { signal: this.#signal })) !== file.sha256) return false;
    writeVerified(path, file.sha256);
    return true;
  }

  async #checkRoom(missing: readonly CatalogFile[]): Promise<void> {
    const { homeFolder } = this.#options;
    const kept = missing.map((file) =>
      keptBytes(partPlace(filePlace(homeFolder, this.#build, file)), this.#facts(file)),
    );
    const keptTotal = kept.reduce((sum, bytes) => sum + bytes, 0);
    const needed = missing.reduce((sum, file) => sum + file.size_bytes, 0) - keptTotal;
    const { bavail, bsize } = await statfs(buildFolder(homeFolder, this.#build.id));
    const problem = roomProblem(needed, bavail * bsize, this.#limits.keepFreeBytes);
    if (problem !== undefined) throw new DarkbloomError('disk_full', problem);
  }

  async #fetch(file: CatalogFile): Promise<void> {
    const path = filePlace(this.#options.homeFolder, this.#build, file);
    await using part = await PartFile.open(partPlace(path), this.#facts(file));
    const digest = part.digest();
    digest.catch(() => undefined); // thrown again where it is awaited
    this.#report(part.finishedBytes, true);
    try {
      await this.#fromAnySource(file, part);
    } catch (error) {
      throw this.#explained(error, file, part);
    } finally {
      this.#inFlight.clear();
    }
    const sha256 = await digest;
    if (sha256 !== file.sha256) {
      await part.discard();
      throw new DarkbloomError(
        'model_corrupt',
        `${file.path} came damaged: its SHA-256 is ${sha256 ?? 'unknown'}, not ${file.sha256}. It was removed` +
          `${this.#wholeBytes > 0 ? '; the other files of the model were kept' : ''}. Run the download again.`,
      );
    }
    await part.publish(path);
    writeVerified(path, sha256);
    this.#wholeBytes += file.size_bytes;
  }

  async #fromAnySource(file: CatalogFile, part: PartFile): Promise<void> {
    const failures: string[] = [];
    for (const source of sourcesOf(this.#build, file, this.#options.endpoints)) {
      const failure = await this.#fromSource(source, file, part);
      if (failure === undefined) return;
      failures.push(`${new URL(source.url).host}: ${failure}`);
    }
    throw new DarkbloomError(
      'download_failed',
      `${file.path} could not be downloaded (${failures.join('; ')}). ${kept(part, file)} Run it again to continue.`,
    );
  }

  /** Fetches what is missing from one source, several segments at once; the first request tells whether it can give
   *  parts of a file. Returns why the source failed, nothing when the file is whole. */
  async #fromSource(source: Source, file: CatalogFile, part: PartFile): Promise<string | undefined> {
    const { parallelSegments } = this.#limits;
    const queue = part.missing;
    const stopped = new Error('another segment failed');
    using group = new LinkedAbort(this.#signal);
    const work = async (first?: (kind: 'range' | 'whole') => void): Promise<string | undefined> => {
      let begins = first;
      try {
        for (let segment = queue.shift(); segment !== undefined; segment = queue.shift()) {
          const failure = await this.#fetchSegment(segment, { source, file, part, signal: group.signal, begins });
          begins = undefined;
          if (failure === undefined) continue;
          group.abort(stopped);
          return failure;
        }
      } catch (error) {
        if (error === stopped || (error instanceof Error && error.cause === stopped)) return undefined;
        group.abort(stopped);
        throw error;
      }
      return undefined;
    };
    // settled at once: a worker that fails while the first one still runs is not an unhandled rejection
    const workers = [Promise.allSettled([work(begins)])];
    function begins(kind: 'range' | 'whole'): void {
      if (kind === 'whole') queue.length = 0;
      else while (workers.length < parallelSegments) workers.push(Promise.allSettled([work()]));
    }
    const results: PromiseSettledResult<string | undefined>[] = [];
    for (const worker of workers) results.push(...(await worker)); // the list grows while the first one runs
    this.#signal.throwIfAborted();
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason;
      if (result.value !== undefined) return result.value;
    }
    return part.missing.length === 0 ? undefined : 'it ended early';
  }

  /** Fetches a segment, going on where a try broke off. Returns why it could not. */
  async #fetchSegment(
    segment: Segment,
    { source, file, part, signal, begins }: SegmentJob,
  ): Promise<string | undefined> {
    const { attempts, stallMs, segmentBytes } = this.#limits;
    let at = segment.start;
    let kind: 'range' | 'whole' | undefined;
    for (let attempt = 1; ; attempt++) {
      const outcome = await requestRange({
        source,
        start: at,
        end: segment.end,
        sizeBytes: file.size_bytes,
        wholeWillDo: begins !== undefined && kind !== 'range',
        stallMs,
        signal,
        begins: (begun) => {
          kind = begun;
          begins?.(begun);
        },
        take: async (bytes, offset) => {
          await part.write(bytes, offset);
          const end = offset + bytes.length;
          if (kind === 'whole') {
            const passed = segmentsEndingIn(offset, end, file.size_bytes, segmentBytes);
            for (const each of passed) await part.finish(each);
            this.#report(Math.max(end, part.finishedBytes), false);
          } else {
            at = end;
            this.#inFlight.set(segment.index, at - segment.start);
            this.#report(part.finishedBytes, false);
          }
        },
      });
      if (outcome.kind === 'done') {
        if (kind === 'range') {
          await part.finish(segment);
          this.#inFlight.delete(segment.index);
        }
        return undefined;
      }
      if (outcome.kind === 'refused' || attempt >= attempts) return outcome.reason;
      await sleep(outcome.retryAfterMs ?? backoffMs(attempt, this.#limits), undefined, { signal });
    }
  }

  #facts({ size_bytes: sizeBytes, sha256 }: CatalogFile) {
    return { sizeBytes, sha256, segmentBytes: this.#limits.segmentBytes };
  }

  /** What the system said of a full disk, in words that help. */
  #explained(error: unknown, file: CatalogFile, part: PartFile): unknown {
    const code = systemErrorCode(error);
    if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
    const left = file.size_bytes - part.finishedBytes;
    return new DarkbloomError(
      'disk_full',
      `The disk became full while ${file.path} came. ${kept(part, file)} ` +
        `Free at least ${inWords(left)}, then run it again.`,
      { cause: error },
    );
  }

  #report(partBytes: number, always: boolean): void {
    const { onProgress } = this.#options;
    const now = this.#clock.now();
    if (onProgress === undefined || (!always && now - (this.#samples.at(-1)?.at ?? 0) < REPORT_EVERY_MS)) return;
    const inFlight = [...this.#inFlight.values()].reduce((sum, bytes) => sum + bytes, 0);
    this.#samples = withSample(this.#samples, { at: now, doneBytes: this.#wholeBytes + partBytes + inFlight });
    onProgress(progressOf(this.#samples, sizeOf(this.#build)));
  }
}

interface SegmentJob {
  source: Source;
  file: CatalogFile;
  part: PartFile;
  signal: AbortSignal;
  /** Hears what the source gives; only the first request of a source has it, and takes a whole file too. */
  begins: ((kind: 'range' | 'whole') => void) | undefined;
}

/** The pause after so many failed tries, ms. */
export function backoffMs(
  attempt: number,
  { backoffMs: first, maxBackoffMs }: Pick<DownloadLimits, 'backoffMs' | 'maxBackoffMs'>,
): number {
  return Math.min(maxBackoffMs, first * 2 ** (attempt - 1));
}

/** Why a download has no room, with both numbers; nothing when it has. */
export function roomProblem(neededBytes: number, freeBytes: number, keepFreeBytes: number): string | undefined {
  if (neededBytes + keepFreeBytes <= freeBytes) return undefined;
  const reserve = keepFreeBytes === 0 ? '' : `, and ${inWords(keepFreeBytes)} stay free`;
  const more = neededBytes + keepFreeBytes - freeBytes;
  return (
    `Not enough room on the disk: ${inWords(neededBytes)} are still to come, ${inWords(freeBytes)} are free${reserve}. ` +
    `Free ${inWords(more)} and run it again.`
  );
}

function kept(part: PartFile, file: CatalogFile): string {
  return `${inWords(part.finishedBytes)} of ${inWords(file.size_bytes)} were kept.`;
}
