import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import type { HttpApp } from './app.js';
import { takeTls, type TlsFiles } from './tls.js';

const HEADERS_TIMEOUT_MS = 15_000;
/** For a whole request, its body too. An answer may take as long as it takes. */
const REQUEST_TIMEOUT_MS = 5 * 60_000;
/** How often connections are looked at for these two. */
const CHECK_PERIOD_MS = 5_000;
/** A client that takes nothing of what there is of its answer for so long is cut off: its row is needed. */
const STALLED_READER_MS = 120_000;
/** Running answers get so long to end before a close cuts them off. */
export const CLOSE_TIMEOUT_MS = 2_000;

export interface HttpServer {
  readonly server: Server;
  readonly port: number;
  /** `http://127.0.0.1:8000`, reachable from this machine. */
  readonly url: string;
  close(): Promise<void>;
}

interface Address {
  host: string;
  port: number;
  /** Absent: plain HTTP for everyone. */
  tls?: TlsFiles | undefined;
  /** For a request to come whole, ms. */
  requestTimeoutMs?: number;
}

/** Binds and listens. With TLS, programs on this machine may still speak plain HTTP to the same port.
 *  @throws DarkbloomError `port_in_use`, `config_invalid` for an address this machine does not have or a certificate that
 *  cannot be used. */
export async function listen(
  app: HttpApp,
  { host, port, tls, requestTimeoutMs = REQUEST_TIMEOUT_MS }: Address,
): Promise<HttpServer> {
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const bounds = {
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: Math.min(CHECK_PERIOD_MS, requestTimeoutMs),
  };
  const server = createServer(bounds, (request, response) => {
    response.setTimeout(STALLED_READER_MS, () => {
      if (response.writableLength > 0) response.destroy(); // otherwise it is we who have nothing to say
    });
    void listener(request, response);
  });
  if (tls !== undefined) takeTls(server, tls);
  const sockets = new Set<Socket>();
  server.prependListener('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await bind(server, host, port);
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  const dialHost = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return { server, port: bound, url: `http://${dialHost}:${bound}`, close: () => close(server, sockets) };
}

/** Binds and lets go again.
 *  @throws DarkbloomError as `listen` does. */
export async function refuseTakenPort({ host, port }: { host: string; port: number }): Promise<void> {
  const server = createServer();
  await bind(server, host, port);
  await close(server, new Set());
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(bindError(error, host, port)));
    server.listen(port, host, resolve);
  });
}

function bindError(cause: Error, host: string, port: number): DarkbloomError {
  switch (systemErrorCode(cause)) {
    case 'EADDRINUSE':
      return new DarkbloomError(
        'port_in_use',
        `Port ${port} of ${host} is in use by another program. Stop that program, or choose another port with --port N; ` +
          'for the background service: darkbloom-provider config set http.port N.',
        { cause },
      );
    case 'EACCES':
      return new DarkbloomError(
        'config_invalid',
        `Port ${port} needs more rights. Choose a port above 1023 with --port N; for the background service: darkbloom-provider config set http.port N.`,
        { cause },
      );
    default:
      return new DarkbloomError('config_invalid', `The address ${host}:${port} cannot be used: ${cause.message}.`, {
        cause,
      });
  }
}

/** Lets running answers end for a moment, then cuts what is left: also connections that never came as far as a request. */
async function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const timer = setTimeout(() => sockets.forEach((socket) => socket.destroy()), CLOSE_TIMEOUT_MS);
  await closed;
  clearTimeout(timer);
}
