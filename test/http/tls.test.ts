import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createApp } from '../../src/http/app.js';
import { CLOSE_TIMEOUT_MS, listen, type HttpServer } from '../../src/http/server.js';
import type { TlsFiles } from '../../src/http/tls.js';
import { silentLog } from '../../src/log.js';
import { isFromHere, isLoopback } from '../../src/util/loopback.js';
import { StartedCoordinator } from '../coordinator/started-coordinator.js';
import { costly } from '../support/costly.js';
import { TemporaryHome } from '../support/temporary-home.js';

let home: TemporaryHome;
let tls: TlsFiles;
let server: HttpServer;

beforeAll(async () => {
  home = new TemporaryHome();
  tls = { cert: join(home.home.folder, 'cert.pem'), key: join(home.home.folder, 'key.pem') };
  const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
  const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  execFileSync('openssl', [...made, ...names, '-keyout', tls.key, '-out', tls.cert], { stdio: 'pipe' });
  const app = createApp(silentLog());
  app.post('/echo', async (context) =>
    context.text(`${new URL(context.req.url).protocol} ${await context.req.text()}`),
  );
  server = await listen(app, { host: '127.0.0.1', port: 0, tls });
});
afterAll(async () => {
  await server.close();
  home[Symbol.dispose]();
});

function post(how: 'http' | 'https', body: string): Promise<string> {
  const to = { host: '127.0.0.1', port: server.port, path: '/echo', method: 'POST', agent: false as const };
  return new Promise((resolve, reject) => {
    const answered = (response: NodeJS.ReadableStream) => void text(response).then(resolve, reject);
    const sent =
      how === 'http' ? plainRequest(to, answered) : tlsRequest({ ...to, ca: readFileSync(tls.cert) }, answered);
    sent.on('error', reject);
    sent.end(body);
  });
}

test.each(['http', 'https'] as const)('a program on this machine is answered over %s on the same port', async (how) => {
  expect(await post(how, 'hello')).toBe(`${how}: hello`);
  const large = 'x'.repeat(300_000); // more than one piece
  const digest = (of: string) => createHash('sha256').update(of).digest('hex');
  expect(digest(await post(how, large))).toBe(digest(`${how}: ${large}`));
});

test('a machine links over TLS, to a certificate it trusts and to no other', async () => {
  await using house = await StartedCoordinator.start({ tls });
  const address = house.coordinator.url.replace(/^http/u, 'wss').replace('127.0.0.1', 'localhost');
  const trusted = new WebSocket(`${address}/ws/provider`, { ca: readFileSync(tls.cert) });
  await once(trusted, 'open');
  trusted.terminate();
  await once(trusted, 'close');
  const [error] = (await once(new WebSocket(`${address}/ws/provider`), 'error')) as [Error];
  expect(error.message).toMatch(/self-signed certificate/u);
});

test('a peer that speaks neither, or hangs up at once, disturbs nobody', async () => {
  const sockets = ['', '\x16\x03garbage that is no handshake', '\0\0\0'].map((bytes) => {
    const socket: Socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.end(bytes);
    socket.resume();
    return once(socket, 'close');
  });
  await Promise.all(sockets);
  expect(await post('https', 'still here')).toBe('https: still here');
});

describe('with connections that stay open', () => {
  const open = () => listen(createApp(silentLog()), { host: '127.0.0.1', port: 0, tls });
  const silent: Record<string, (port: number) => Promise<Socket>> = {
    'that says nothing': async (port) => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    },
    'that shook hands and asks nothing': async (port) => {
      const socket = connectTls({ port, host: '127.0.0.1', ca: readFileSync(tls.cert) });
      await once(socket, 'secureConnect');
      return socket;
    },
    'that never ends its headers': async (port) => {
      const socket = connectTls({ port, host: '127.0.0.1', ca: readFileSync(tls.cert) });
      await once(socket, 'secureConnect');
      socket.write('GET / HTTP/1.1\r\nHost: here\r\n');
      return socket;
    },
  };

  test.each(Object.keys(silent))('it closes all the same: a client %s', async (kind) => {
    const door = await open();
    const accepted = once(door.server, 'connection');
    const client = await silent[kind]?.(door.port);
    await accepted;
    using _timers = fakeTimeouts();
    const closed = door.close();
    vi.advanceTimersByTime(CLOSE_TIMEOUT_MS);
    await closed;
    client?.destroy();
  });

  test('a connection that rests between two requests does not hold up the close', async () => {
    const door = await open();
    const socket = connectTls({ port: door.port, host: '127.0.0.1', ca: readFileSync(tls.cert) });
    socket.write('GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n');
    await once(socket, 'data');
    using _timers = fakeTimeouts(); // nothing is cut: no time passes
    await door.close();
    socket.destroy();
  });

  costly('headers and bodies that do not end are not waited for', async () => {
    const door = await open();
    door.server.headersTimeout = door.server.requestTimeout = 1;
    const beginnings = ['GET / HTTP/1.1\r\n', 'POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n{'];
    await Promise.all(
      beginnings.map(async (beginning) => {
        const socket = connectTls({ port: door.port, host: '127.0.0.1', ca: readFileSync(tls.cert) });
        socket.on('error', () => undefined);
        socket.write(beginning);
        await once(socket.resume(), 'close'); // with the next look, after 5 s
      }),
    );
    await door.close();
  });
});

function fakeTimeouts(): Disposable {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  return { [Symbol.dispose]: () => vi.useRealTimers() };
}

describe('files that are no certificate and its key', () => {
  const start = (files: TlsFiles) => listen(createApp(silentLog()), { host: '127.0.0.1', port: 0, tls: files });

  test('are refused with the setting', async () => {
    await expect(start({ ...tls, cert: '/nowhere.pem' })).rejects.toMatchObject({
      code: 'config_invalid',
      message: 'http.tls_cert: /nowhere.pem cannot be read. Check the path and its rights.',
    });
    const other = join(home.home.folder, 'other.pem');
    writeFileSync(other, 'no key');
    await expect(start({ ...tls, key: other })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('are no certificate and its private key in PEM') as string,
    });
  });
});

// A machine has such an address where it has a network; elsewhere there is nobody to refuse.
const [outside] = Object.values(networkInterfaces()).flatMap(
  (all) => all?.filter(({ internal, family }) => !internal && family === 'IPv4') ?? [],
);

test.each([
  ['127.0.0.1', '127.0.0.1', true],
  ['::ffff:127.0.0.1', '::ffff:127.0.0.1', true],
  ['::1', '::1', true],
  ['192.168.1.7', '192.168.1.7', true],
  ['192.168.1.8', '192.168.1.7', false],
  ['127.evil.example', '192.168.1.7', false],
  [undefined, undefined, false],
])('from %s to %s is from here: %s', (remoteAddress, localAddress, expected) => {
  expect(isFromHere({ remoteAddress, localAddress })).toBe(expected);
});

test.each([
  ['localhost', true],
  ['[::1]', true],
  ['127.8.9.10', true],
  ['127.0.0.1.example.com', false],
  ['0.0.0.0', false],
])('%s is this machine: %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});

test.runIf(outside !== undefined)('this machine by its own address on the network is this machine', async () => {
  const app = createApp(silentLog());
  app.get('/', (context) => context.text('here'));
  const door = await listen(app, { host: outside?.address ?? '', port: 0, tls });
  expect(await (await fetch(door.url)).text()).toBe('here');
  await door.close();
});
