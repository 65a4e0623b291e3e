import { once } from 'node:events';
import { request, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { stream } from 'hono/streaming';
import { expect, test } from 'vitest';
import { toFailure } from '../../src/errors.js';
import { createApp, type HttpApp } from '../../src/http/app.js';
import { readJson } from '../../src/http/body.js';
import { listen } from '../../src/http/server.js';
import { silentLog } from '../../src/log.js';

const PIECE = 'x'.repeat(64 * 1024);

/** A server whose answers never end, and what became of the only one. */
async function play(write: (out: { write: (text: string) => Promise<unknown> }) => Promise<unknown>) {
  const app = createApp(silentLog());
  const left = new Promise<void>((resolve) => {
    app.get('/', (context) => {
      context.req.raw.signal.addEventListener('abort', () => resolve());
      return stream(context, async (out) => {
        while (!context.req.raw.signal.aborted) await write(out);
      });
    });
  });
  const server = await listen(app, { host: '127.0.0.1', port: 0 });
  // What is bounded by minutes is bounded by less, by the same rule.
  server.server.on('request', (_request, response: ServerResponse) => response.setTimeout(100));
  const client = connect(server.port, '127.0.0.1');
  client.write('GET / HTTP/1.1\r\nHost: here\r\n\r\n');
  return { server, client, left };
}

test('a client that takes nothing of its answer is cut off, and who writes it hears', async () => {
  const { server, client, left } = await play((out) => out.write(PIECE));
  client.on('error', () => undefined); // and never reads
  await left;
  client.destroy();
  await server.close();
});

test('a client that waits for an answer that is not there yet is not', async () => {
  let pieces = 0;
  const { server, client, left } = await play(async (out) => {
    await new Promise((resolve) => setTimeout(resolve, 400)); // longer than a stalled reader is borne with
    return out.write(`piece ${++pieces}.`);
  });
  let heard = '';
  client.on('data', (bytes) => (heard += String(bytes)));
  while (!heard.includes('piece 2.')) await once(client, 'data');
  expect(heard).toContain('piece 1.');
  client.destroy();
  await left;
  await server.close();
});

const REQUEST_TIMEOUT_MS = 100;

/** Tells what became of bodies, and answers late. */
function patientApp(): { app: HttpApp; read: string[]; answerLater: () => void } {
  const app = createApp(silentLog());
  const read: string[] = [];
  let answerLater: () => void = () => undefined;
  const later = new Promise<void>((resolve) => (answerLater = resolve));
  app.post('/', async (context) => {
    try {
      await readJson(context, 100);
      read.push('whole');
    } catch (error) {
      read.push(toFailure(error).code);
      throw error;
    }
    await later;
    return context.json({ answered: true });
  });
  return { app, read, answerLater };
}

test('a body that never ends is given up in time, and is no fault of ours; an answer may take longer than that', async () => {
  const { app, read, answerLater } = patientApp();
  const server = await listen(app, { host: '127.0.0.1', port: 0, requestTimeoutMs: REQUEST_TIMEOUT_MS });
  try {
    const slow = request({ port: server.port, method: 'POST', path: '/' });
    slow.end('{}');
    const stuck = connect(server.port, '127.0.0.1');
    const heard = text(stuck);
    stuck.write('POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{');
    expect(await heard).toMatch(/^HTTP\/1\.1 408 /u);
    expect(read).toEqual(['whole', 'cancelled']);
    answerLater(); // the first one has waited for longer than a request may take to come
    const [response] = (await once(slow, 'response')) as [NodeJS.ReadableStream];
    expect(await text(response)).toBe('{"answered":true}');
  } finally {
    await server.close();
  }
});
