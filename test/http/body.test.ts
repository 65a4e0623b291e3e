import { expect, test } from 'vitest';
import { z } from 'zod';
import { createApp } from '../../src/http/app.js';
import { readJson, readOptionalJson } from '../../src/http/body.js';
import { silentLog } from '../../src/log.js';

const LIMIT = 20;

const app = createApp(silentLog());
app.post('/needed', async (context) => context.json(await readJson(context, LIMIT)));
app.post('/optional', async (context) => context.json(await readOptionalJson(context, LIMIT)));

const Failure = z.object({ error: z.object({ type: z.string(), message: z.string() }) });

async function post(path: string, init: RequestInit) {
  const response = await app.request(path, { method: 'POST', ...init });
  return { status: response.status, json: (await response.json()) as unknown };
}

/** A body of unknown length, and how much of it was read. */
function streamed(...pieces: string[]) {
  const read: string[] = [];
  let left = false;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const piece = pieces[read.length];
        if (piece === undefined) return controller.close();
        read.push(piece);
        controller.enqueue(Buffer.from(piece));
      },
      cancel: () => void (left = true),
    },
    { highWaterMark: 0 },
  );
  return { read, left: () => left, init: { body, duplex: 'half' as const } };
}

test('an object of exactly the limit is read, also in pieces that cut a character', async () => {
  const text = '{"a":"bücher öööö"}'.slice(0, -2);
  const whole = `${text}"}`;
  expect(Buffer.byteLength('{"a":"1234567890"}')).toBeLessThan(LIMIT);
  expect(whole).toContain('ü');
  expect((await post('/needed', { body: '{"a":"123456789012"}' })).json).toEqual({ a: '123456789012' });
});
