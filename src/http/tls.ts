import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer } from 'node:tls';
import type { Settings } from '../config.js';
import { DarkbloomError } from '../errors.js';
import { isFromHere } from '../util/loopback.js';

/** PEM files. */
export interface TlsFiles {
  cert: string;
  key: string;
}

/** For a first byte, and for the handshake after it. */
const HANDSHAKE_TIMEOUT_MS = 15_000;
/** A TLS connection begins with a record of this type; no HTTP request does. */
const HANDSHAKE_RECORD = 22;
const SPEAK_TLS =
  'HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n' +
  'This port speaks TLS: use https.\n';

/** `{}` without TLS. */
export function tlsOf({ http }: Settings): { tls?: TlsFiles } {
  const { tls_cert: cert, tls_key: key } = http;
  return cert === undefined || key === undefined ? {} : { tls: { cert, key } };
}

/** Makes an HTTP server take TLS from everywhere and plain HTTP from this machine alone, so that programs here need not
 *  know the certificate. The server itself listens: it bounds headers and closes connections only then.
 *  @throws DarkbloomError `config_invalid` for files that are no certificate and its key. */
export function takeTls(http: Server, files: TlsFiles): void {
  const serve = http.listeners('connection');
  const speak = (socket: Socket) => serve.forEach((listener) => void listener.call(http, socket));
  const tls = createTlsServer({ ...readPair(files), handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, speak);
  tls.on('tlsClientError', (_error, socket) => socket.destroy());
  http.removeAllListeners('connection');
  http.on('connection', (socket) => {
    socket.on('error', () => socket.destroy());
    socket.setTimeout(HANDSHAKE_TIMEOUT_MS, () => socket.destroy());
    socket.once('readable', () => {
      const first = socket.read(1) as Buffer | null;
      if (first === null) return void socket.destroy(); // it has ended
      socket.setTimeout(0);
      socket.removeAllListeners('timeout');
      socket.unshift(first);
      if (first[0] === HANDSHAKE_RECORD) tls.emit('connection', socket);
      else if (isFromHere(socket)) speak(socket);
      else refusePlain(socket);
    });
  });
}

function refusePlain(socket: Socket): void {
  socket.resume();
  socket.end(SPEAK_TLS, () => socket.destroySoon());
}

function readPair(files: TlsFiles): { cert: Buffer; key: Buffer } {
  const pair = { cert: readPem('http.tls_cert', files.cert), key: readPem('http.tls_key', files.key) };
  try {
    createSecureContext(pair);
    return pair;
  } catch (cause) {
    throw new DarkbloomError(
      'config_invalid',
      `http.tls_cert (${files.cert}) and http.tls_key (${files.key}) are no certificate and its private key in PEM.`,
      { cause },
    );
  }
}

function readPem(setting: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new DarkbloomError('config_invalid', `${setting}: ${path} cannot be read. Check the path and its rights.`, {
      cause,
    });
  }
}
