import type { ReadableStream } from 'node:stream/web';
import { LinkedAbort } from '../util/linked-abort.js';
import type { Source } from './catalog.js';

const MAX_REDIRECTS = 8;
const LONGEST_RETRY_AFTER_S = 30;

export interface RangeRequest {
  source: Source;
  /** Offset of the first byte wanted. */
  start: number;
  /** Offset behind the last one. */
  end: number;
  /** Size of the whole file. */
  sizeBytes: number;
  /** Whether an answer with the whole file from its start will do. */
  wholeWillDo: boolean;
  /** So long without a byte ends the request. */
  stallMs: number;
  signal: AbortSignal;
  /** Called once when the answer begins. */
  begins: (kind: 'range' | 'whole') => void;
  /** Called for every piece, in order, with its offset in the file. */
  take: (bytes: Uint8Array, at: number) => Promise<void>;
}

/** How a request ended. `refused`: this source does not give what was asked; `broken`: it may the next time. */
export type RangeOutcome =
  { kind: 'done' } | { kind: 'refused'; reason: string } | { kind: 'broken'; reason: string; retryAfterMs?: number };

/** Fetches one stretch of a file. What the network does wrong is an outcome; what `take` throws is thrown.
 *  @throws the signal's reason when it fires. */
export async function requestRange(request: RangeRequest): Promise<RangeOutcome> {
  const { signal, stallMs } = request;
  using abort = new LinkedAbort(signal);
  try {
    const answer = await within(stallMs, abort, () => follow(request, abort.signal));
    if (!(answer instanceof Response)) return answer;
    return await receive(request, answer, abort);
  } finally {
    abort.abort(new Error('the request is over'));
  }
}

async function follow({ source, start, end }: RangeRequest, signal: AbortSignal): Promise<Response | RangeOutcome> {
  let url = new URL(source.url);
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    if (!isAllowed(url, source)) {
      return { kind: 'refused', reason: `${url.protocol}//${url.host} is not HTTPS` };
    }
    const headers = { range: `bytes=${start}-${end - 1}`, 'accept-encoding': 'identity' };
    const response = await fetch(url, { headers, redirect: 'manual', signal });
    const location = response.headers.get('location');
    if (response.status < 300 || response.status > 399 || location === null) return response;
    await response.body?.cancel();
    url = new URL(location, url);
  }
  return { kind: 'refused', reason: `more than ${MAX_REDIRECTS} redirects` };
}

/** HTTPS, or HTTP that does not leave this machine or is meant by the source. */
export function isAllowed(url: URL, { plainHttp }: Pick<Source, 'plainHttp'>): boolean {
  if (url.protocol === 'https:') return true;
  const loopback = url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(\.\d+){3}$/u.test(url.hostname);
  return url.protocol === 'http:' && (loopback || plainHttp);
}

async function receive(request: RangeRequest, response: Response, abort: LinkedAbort): Promise<RangeOutcome> {
  const kind = kindOf(request, response);
  if (typeof kind !== 'string') return kind;
  request.begins(kind);
  const start = kind === 'range' ? request.start : 0;
  const end = kind === 'range' ? request.end : request.sizeBytes;
  const body: ReadableStream<Uint8Array> | null = response.body;
  const reader = body?.getReader();
  let at = start;
  while (reader !== undefined) {
    const piece = await within(request.stallMs, abort, () => reader.read());
    if ('kind' in piece) return piece;
    if (piece.done) break;
    if (at + piece.value.length > end) return { kind: 'refused', reason: 'it sends more than was asked' };
    await request.take(piece.value, at);
    at += piece.value.length;
  }
  return at === end ? { kind: 'done' } : { kind: 'broken', reason: 'the connection was cut' };
}

/** What an answer is, before its body is read. */
function kindOf(
  { start, end, sizeBytes, wholeWillDo }: RangeRequest,
  { status, headers }: Response,
): 'range' | 'whole' | RangeOutcome {
  if (status === 206) {
    const [, from, to, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/u.exec(headers.get('content-range') ?? '') ?? [];
    if (Number(from) !== start || Number(to) !== end - 1) {
      return { kind: 'refused', reason: 'it answers with another range' };
    }
    return total === '*' || Number(total) === sizeBytes ? 'range' : otherSize(total);
  }
  if (status === 200) {
    const length = headers.get('content-length');
    if (length !== null && Number(length) !== sizeBytes) return otherSize(length);
    return wholeWillDo ? 'whole' : { kind: 'broken', reason: 'it stopped answering with ranges' };
  }
  if (status === 401 || status === 403) {
    return { kind: 'refused', reason: `it answers ${status}: the owner of the files may ask for an account` };
  }
  const reason = `it answers ${status}`;
  if (status !== 408 && status !== 429 && status < 500) return { kind: 'refused', reason };
  const retryAfterS = Number(headers.get('retry-after') ?? NaN);
  return Number.isFinite(retryAfterS)
    ? { kind: 'broken', reason, retryAfterMs: Math.min(LONGEST_RETRY_AFTER_S, Math.max(0, retryAfterS)) * 1000 }
    : { kind: 'broken', reason };
}

function otherSize(size: string | undefined): RangeOutcome {
  return { kind: 'refused', reason: `its file has another size (${size ?? 'unknown'} bytes)` };
}

/** Waits for one step of the network, not longer than `stallMs`, and not for the step to notice the abort: of several
 *  requests of Node 20 that are aborted at once, now and then one never settles. */
async function within<T>(stallMs: number, abort: LinkedAbort, step: () => Promise<T>): Promise<T | RangeOutcome> {
  const { signal } = abort;
  signal.throwIfAborted();
  const { promise: aborted, reject } = rejectable();
  const giveUp = () => reject(signal.reason);
  signal.addEventListener('abort', giveUp, { once: true });
  const stalled = new Error('stalled');
  const timer = setTimeout(() => abort.abort(stalled), stallMs);
  try {
    return await Promise.race([step(), aborted]);
  } catch (error) {
    if (signal.reason === stalled)
      return { kind: 'broken', reason: `no byte came for ${Math.round(stallMs / 1000)} s` };
    signal.throwIfAborted();
    return { kind: 'broken', reason: reasonOf(error) };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', giveUp);
  }
}

function rejectable(): { promise: Promise<never>; reject: (reason: unknown) => void } {
  let reject: (reason: unknown) => void = () => undefined;
  const promise = new Promise<never>((_, rejected) => (reject = rejected));
  return { promise, reject };
}

/** `fetch` says little; what it failed on stands in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'the connection failed';
  const { cause } = error;
  return cause instanceof Error && cause.message !== '' ? cause.message : error.message;
}
