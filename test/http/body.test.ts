import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createApp } from '../../src/http/app.js';
import { readJson, readOptionalJson } from '../../src/http/body.js';
import { listen } from '../../src/http/server.js';
import { silentLog } from '../../src/log.js';
import { overAPort } from '../support/over-a-port.js';
import { RecordedLog } from '../support/recorded-log.js';

const LIMIT = 20;

const app = createApp(silentLog());
app.post('/needed', async (context) => context.json(await readJson(context, LIMIT)));
app.post('/optional', async (context) => context.json(await readOptionalJson(context, LIMIT, 'bad_request')));

async function post(path: string, init: RequestInit) {
  const response = await app.request(path, { method: 'POST', ...init });
  const json: unknown = await response.json();
  return { status: response.status, json };
}

/** A body whose length nobody announced, and what became of it. */
function streamed(...pieces: Uint8Array[]) {
  const fate = { read: 0, left: false };
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const piece = pieces[fate.read++];
        if (piece === undefined) controller.close();
        else controller.enqueue(piece);
      },
      cancel: () => void (fate.left = true),
    },
    { highWaterMark: 0 },
  );
  return { fate, init: { body, duplex: 'half' as const, headers: { 'transfer-encoding': 'chunked' } } };
}

const refusedAs = (status: number, type: string, message: RegExp) => ({
  status,
  json: { error: { type, code: type, message: expect.stringMatching(message) as string } },
});
const tooLarge = (bytes: number) =>
  refusedAs(413, 'invalid_request_error', new RegExp(`at least ${bytes} bytes; the limit is ${LIMIT}`, 'u'));

describe('a body', () => {
  test('of exactly the limit is read', async () => {
    const body = '{"a":"123456789012"}';
    expect(body).toHaveLength(LIMIT);
    expect(await post('/needed', { body })).toEqual({ status: 200, json: { a: '123456789012' } });
  });

  test('that comes in pieces is put together, also where a piece ends inside a character', async () => {
    const bytes = Buffer.from('{"a":"ü"}');
    const { init } = streamed(bytes.subarray(0, 7), bytes.subarray(7));
    expect(await post('/needed', init)).toEqual({ status: 200, json: { a: 'ü' } });
  });

  test('that announces too much is refused unread', async () => {
    const { fate, init } = streamed(Buffer.from('{}'));
    const answer = await post('/needed', { ...init, headers: { 'content-length': '21' } });
    expect(answer).toEqual(tooLarge(21));
    expect(fate.read).toBe(0);
  });

  test.each([undefined, '2', 'many', '-5'])(
    'that is longer than it announced (%s) is read to the limit and not further',
    async (announced) => {
      const half = Buffer.from(' '.repeat(LIMIT / 2));
      const { fate, init } = streamed(half, half, Buffer.from('{'), half, half);
      const headers = announced === undefined ? {} : { 'content-length': announced };
      expect(await post('/needed', { ...init, headers })).toEqual(tooLarge(LIMIT + 1));
      expect(fate).toEqual({ read: 3, left: true });
    },
  );

  test.each(['', '{', 'no json', '{"a":1} {}', '\uFEFF{}'])('%j is not JSON, and is not quoted', async (body) => {
    const answer = await post('/needed', { body });
    expect(answer).toEqual(refusedAs(400, 'invalid_request_error', /not valid JSON \(\d+ characters\)/u));
  });

  test('that is missing is not JSON', async () => {
    expect((await post('/needed', {})).status).toBe(400);
  });

  test.each(['[]', '"text"', '7', 'null', 'true'])('%s is no object', async (body) => {
    expect(await post('/needed', { body })).toEqual(refusedAs(400, 'invalid_request_error', /must be a JSON object/u));
  });
});

describe('over a connection', () => {
  test('a body in pieces is put together', async () => {
    const bytes = Buffer.from('{"a":"ü"}');
    const { init } = streamed(bytes.subarray(0, 7), bytes.subarray(7));
    const response = await overAPort(app, '/needed', { ...init, method: 'POST', headers: {} });
    expect(await response.json()).toEqual({ a: 'ü' });
  });

  test('a body that is too long, and announced no length, is refused in words', async () => {
    const half = Buffer.from(' '.repeat(LIMIT / 2));
    const { init } = streamed(half, half, Buffer.from('{'), half);
    const response = await overAPort(app, '/needed', { ...init, method: 'POST', headers: {} });
    expect({ status: response.status, json: await response.json() }).toEqual(tooLarge(LIMIT + 1));
  });

  test('a client that leaves in the middle of its body is no fault of this side', async () => {
    const log = new RecordedLog();
    const watched = createApp(log.log);
    const read = new Promise<unknown>((resolve) => {
      watched.post('/needed', async (context) => {
        const reading = readJson(context, LIMIT);
        client.destroy();
        await reading.catch(resolve);
        return context.json({});
      });
    });
    const server = await listen(watched, { host: '127.0.0.1', port: 0 });
    onTestFinished(() => server.close());
    const client = connect(server.port, '127.0.0.1');
    client.write('POST /needed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"a"');
    expect(await read).toMatchObject({ code: 'cancelled', status: 499 });
    expect(log.text).toBe('');
  });
});

describe('a body that may be left out', () => {
  test.each<[string, RequestInit]>([
    ['missing', {}],
    ['announced as empty', { body: '', headers: { 'content-length': '0' } }],
  ])('is an empty object when it is %s', async (_, init) => {
    expect(await post('/optional', init)).toEqual({ status: 200, json: {} });
  });

  test('is read when its length is announced', async () => {
    const init = { body: '{"a":1}', headers: { 'content-length': '7' } };
    expect(await post('/optional', init)).toEqual({ status: 200, json: { a: 1 } });
  });

  test('is read when it comes in pieces', async () => {
    const { init } = streamed(Buffer.from('{"a"'), Buffer.from(':1}'));
    expect(await post('/optional', init)).toEqual({ status: 200, json: { a: 1 } });
  });

  test('must be right when it is there, in the words of its route', async () => {
    for (const body of ['[]', '{{']) {
      const answer = await post('/optional', { body, headers: { 'content-length': '2' } });
      expect(answer).toEqual(refusedAs(400, 'bad_request', /JSON/u));
    }
  });
});
