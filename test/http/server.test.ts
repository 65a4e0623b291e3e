import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { stream } from 'hono/streaming';
import { expect, test } from 'vitest';
import { createApp } from '../../src/http/app.js';
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
  let text = '';
  client.on('data', (bytes) => (text += String(bytes)));
  while (!text.includes('piece 2.')) await once(client, 'data');
  expect(text).toContain('piece 1.');
  client.destroy();
  await left;
  await server.close();
});
