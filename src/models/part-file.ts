import { createHash } from 'node:crypto';
import { renameSync, rmSync, statSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { readFileIfPresent, writePrivateFile } from '../util/files.js';
import { tryJson } from '../util/json.js';
import { segmentsOf, type Segment } from './segments.js';

const PRIVATE_FILE = 0o600;
const READ_BYTES = 1024 * 1024;

const Journal = z.strictObject({
  schema_version: z.literal(1),
  size_bytes: z.number().int(),
  sha256: z.string(),
  segment_bytes: z.number().int().positive(),
  finished: z.array(z.number().int().nonnegative()),
});

interface PartFacts {
  sizeBytes: number;
  sha256: string;
  segmentBytes: number;
}

/** A file that is not whole yet, and a journal of the segments in it that are on the disk for certain. */
export class PartFile implements AsyncDisposable {
  readonly #path: string;
  readonly #facts: PartFacts;
  readonly #segments: readonly Segment[];
  readonly #finished: Set<number>;
  #file: FileHandle;
  #closed = false;
  #wake: () => void = () => undefined;

  private constructor(path: string, facts: PartFacts, finished: Set<number>, file: FileHandle) {
    this.#path = path;
    this.#facts = facts;
    this.#segments = segmentsOf(facts.sizeBytes, facts.segmentBytes);
    this.#finished = finished;
    this.#file = file;
  }

  /** Continues what lies there, or begins anew. */
  static async open(path: string, facts: PartFacts): Promise<PartFile> {
    const finished = finishedBefore(path, facts);
    // The journal of an older part goes before there is a new one that it could be taken for.
    if (finished === undefined) rmSync(journalOf(path), { force: true });
    const file = await open(path, finished === undefined ? 'w+' : 'r+', PRIVATE_FILE);
    return new PartFile(path, facts, finished ?? new Set(), file);
  }

  get missing(): Segment[] {
    return this.#segments.filter(({ index }) => !this.#finished.has(index));
  }

  get finishedBytes(): number {
    return this.#facts.sizeBytes - bytesOf(this.missing);
  }

  /** Writes bytes at an offset. Those that belong to a finished segment are left alone.
   *  @throws the system's error, `ENOSPC` among them. */
  async write(bytes: Uint8Array, at: number): Promise<void> {
    const { segmentBytes } = this.#facts;
    for (let from = 0; from < bytes.length;) {
      const index = Math.floor((at + from) / segmentBytes);
      const to = Math.min(bytes.length, (index + 1) * segmentBytes - at);
      if (!this.#finished.has(index)) await this.#writeAll(bytes.subarray(from, to), at + from);
      from = to;
    }
  }

  async #writeAll(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, at + done);
      done += bytesWritten;
    }
  }

  /** All bytes of this segment were written: brings them to the disk, then says so in the journal. */
  async finish({ index }: Segment): Promise<void> {
    if (this.#finished.has(index)) return;
    await this.#file.datasync();
    this.#finished.add(index);
    const { sizeBytes: size_bytes, sha256, segmentBytes: segment_bytes } = this.#facts;
    const finished = [...this.#finished];
    const journal: z.infer<typeof Journal> = { schema_version: 1, size_bytes, sha256, segment_bytes, finished };
    writePrivateFile(journalOf(this.#path), JSON.stringify(journal));
    this.#wake();
  }

  /** The SHA-256 of the whole file, in hex, read in order as segments are finished; `undefined` when it was closed
   *  before. A finished segment never changes, so the hash is that of what is published. */
  async digest(): Promise<string | undefined> {
    const hash = createHash('sha256');
    const buffer = Buffer.alloc(READ_BYTES);
    for (const segment of this.#segments) {
      while (!this.#finished.has(segment.index) && !this.#closed) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
      for (let at = segment.start; at < segment.end;) {
        if (this.#closed) return undefined;
        const { bytesRead } = await this.#file.read(buffer, 0, Math.min(READ_BYTES, segment.end - at), at);
        if (bytesRead === 0) return hash.digest('hex'); // cut short under us: the hash will not be the right one
        hash.update(buffer.subarray(0, bytesRead));
        at += bytesRead;
      }
    }
    return hash.digest('hex');
  }

  /** Puts the file in its place, all at once, and the journal away. */
  async publish(path: string): Promise<void> {
    await this.#file.sync();
    await this.#close();
    renameSync(this.#path, path);
    await using folder = await open(dirname(path), 'r');
    await folder.sync();
    rmSync(journalOf(this.#path), { force: true });
  }

  /** Removes the file and its journal. */
  async discard(): Promise<void> {
    await this.#close();
    rmSync(journalOf(this.#path), { force: true });
    rmSync(this.#path, { force: true });
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake();
    await this.#file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

/** Bytes of a file that an earlier run has fetched. */
export function keptBytes(path: string, facts: PartFacts): number {
  const finished = finishedBefore(path, facts);
  return bytesOf(segmentsOf(facts.sizeBytes, facts.segmentBytes).filter(({ index }) => finished?.has(index) === true));
}

function bytesOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** The finished segments; `undefined` when there is no part, or its journal does not speak of it. */
function finishedBefore(path: string, facts: PartFacts): Set<number> | undefined {
  const lies = statSync(path, { throwIfNoEntry: false })?.size;
  const { data } = Journal.safeParse(tryJson(readFileIfPresent(journalOf(path)) ?? ''));
  const isOfPart =
    lies !== undefined &&
    data?.size_bytes === facts.sizeBytes &&
    data.sha256 === facts.sha256 &&
    data.segment_bytes === facts.segmentBytes;
  if (!isOfPart) return undefined;
  const segments = segmentsOf(facts.sizeBytes, facts.segmentBytes);
  const isThere = (index: number) => (segments[index]?.end ?? Infinity) <= lies;
  return new Set(data.finished.filter(isThere));
}

/** Which segments of a part are on the disk for certain. */
export function journalOf(path: string): string {
  return `${path}.json`;
}
