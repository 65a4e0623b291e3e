import { createServer, type Server } from 'node:http';
import type { Server as NetServer } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import type { HttpApp } from './app.js';
import { tlsDoor, type TlsFiles } from './tls.js';

const HEADERS_TIMEOUT_MS = 15_000;
const CLOSE_TIMEOUT_MS = 2_000;

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
}

/** Binds and listens. With TLS, programs on this machine may still speak plain HTTP to the same port.
 *  @throws DarkbloomError `port_in_use`, `config_invalid` for an address this machine does not have or a certificate that
 *  cannot be used. */
export async function listen(app: HttpApp, { host, port, tls }: Address): Promise<HttpServer> {
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer((request, response) => void listener(request, response));
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = 0; // an answer may take as long as it takes; bodies are bounded by size
  const door = tls === undefined ? server : tlsDoor(server, tls);
  await bind(door, host, port);
  const address = door.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  const dialHost = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return { server, port: bound, url: `http://${dialHost}:${bound}`, close: () => close(server, door) };
}

/** Binds and lets go again.
 *  @throws DarkbloomError as `listen` does. */
export async function refuseTakenPort({ host, port }: { host: string; port: number }): Promise<void> {
  const server = createServer();
  await bind(server, host, port);
  await close(server, server);
}

function bind(server: NetServer, host: string, port: number): Promise<void> {
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

/** Lets running answers end for a moment, then cuts what is left. */
async function close(server: Server, door: NetServer): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS);
  const closed = new Promise<void>((resolve) => door.close(() => resolve()));
  server.closeIdleConnections();
  await closed;
  clearTimeout(timer);
}
