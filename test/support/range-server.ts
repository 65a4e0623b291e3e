import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** One request that a file server saw. */
export interface SeenRequest {
  path: string;
  /** First and last byte asked for; absent without a Range header. */
  range?: readonly [number, number];
  /** How many requests of this path came before. */
  before: number;
}

/** What a file server does wrong. */
export type Fault =
  | { kind: 'status'; status: number; headers?: Record<string, string> }
  | { kind: 'redirect'; to: string }
  /** One byte of the body is another one. */
  | { kind: 'corrupt' }
  /** After so many bytes nothing comes any more. */
  | { kind: 'stall'; afterBytes: number }
  /** After so many bytes the connection is cut. */
  | { kind: 'cut'; afterBytes: number }
  /** Range headers are ignored, this once. */
  | { kind: 'whole' };

const PIECE_BYTES = 16 * 1024;

/** Serves files on loopback as an internet host would, and misbehaves on demand. */
export class RangeServer implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  /** Path, with the leading slash → content. */
  readonly files = new Map<string, Buffer>();
  /** Whether it answers with parts of a file. */
  ranges = true;
  /** A pause after each piece of 16 KiB. */
  pauseMs = 0;
  fault: (request: SeenRequest) => Fault | undefined = () => undefined;
  /** Hears how many bytes it has sent in all. */
  onSent: (bytes: number) => void = () => undefined;
  sentBytes = 0;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async listen(): Promise<RangeServer> {
    const server = new RangeServer();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(request.url ?? '');
    const [, first, last] = /^bytes=(\d+)-(\d+)$/u.exec(request.headers.range ?? '') ?? [];
    const before = this.requests.filter((each) => each.path === path).length;
    const range = first === undefined ? {} : { range: [Number(first), Number(last)] as const };
    const seen: SeenRequest = { path, before, ...range };
    this.requests.push(seen);
    const fault = this.fault(seen);
    const content = this.files.get(path);
    if (fault?.kind === 'status') response.writeHead(fault.status, fault.headers).end();
    else if (fault?.kind === 'redirect') response.writeHead(302, { location: fault.to }).end();
    else if (content === undefined) response.writeHead(404).end();
    else await this.#send(content, seen, fault, response);
  }

  async #send(
    content: Buffer,
    { range }: SeenRequest,
    fault: Fault | undefined,
    response: ServerResponse,
  ): Promise<void> {
    const [first, last] = this.ranges && fault?.kind !== 'whole' && range !== undefined ? range : [0, undefined];
    const body = Buffer.from(content.subarray(first, last === undefined ? undefined : last + 1));
    if (fault?.kind === 'corrupt') body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 0xff;
    response.writeHead(last === undefined ? 200 : 206, {
      'content-length': body.length,
      ...(last === undefined ? {} : { 'content-range': `bytes ${first}-${last}/${content.length}` }),
    });
    const until = fault?.kind === 'stall' || fault?.kind === 'cut' ? fault.afterBytes : body.length;
    for (let at = 0; at < until && !response.destroyed; at += PIECE_BYTES) {
      const piece = body.subarray(at, Math.min(until, at + PIECE_BYTES));
      await new Promise<void>((resolve) => response.write(piece, () => resolve()));
      this.sentBytes += piece.length;
      this.onSent(this.sentBytes);
      if (this.pauseMs > 0) await sleep(this.pauseMs);
    }
    if (fault?.kind === 'cut') response.destroy();
    else if (fault?.kind !== 'stall') response.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
