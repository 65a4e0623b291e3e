import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { createApp, type HttpApp } from '../../src/http/app.js';
import { readJson } from '../../src/http/body.js';
import { listen } from '../../src/http/server.js';
import { toFailure } from '../../src/errors.js';
import { silentLog } from '../../src/log.js';

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
