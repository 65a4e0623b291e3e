import { connect } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { createApp, type HttpApp } from '../../src/http/app.js';
import { respond } from '../../src/http/respond.js';
import { listen } from '../../src/http/server.js';
import { anthropicMessages } from '../../src/inference/anthropic.js';
import { openAiChat } from '../../src/inference/openai.js';
import type { ChatEvent } from '../../src/inference/types.js';
import { silentLog } from '../../src/log.js';
import { overAPort } from '../support/over-a-port.js';

const USAGE = { promptTokens: 11, completionTokens: 2 };
const ACCEPTED: ChatEvent = { type: 'accepted' };
const STARTED: ChatEvent = { type: 'started', promptTokens: 11 };
const DONE: ChatEvent = { type: 'done', finishReason: 'stop', stopSequence: null, usage: USAGE };
const CANCELLED: ChatEvent = { type: 'cancelled', usage: USAGE };
const text = (content: string): ChatEvent => ({ type: 'text', text: content });

type Step = ChatEvent | Promise<unknown> | Error;

/** Events in turn; waits for a promise, breaks with an error. */
class Play {
  readonly events: AsyncGenerator<ChatEvent>;
  /** Resolves when the reader has read on behind the last event. */
  readonly ended: Promise<void>;
  /** Resolves when it waits for the first time. */
  readonly waiting: Promise<void>;
  #end: () => void = () => undefined;
  #wait: () => void = () => undefined;
  readonly seen: string[] = [];

  constructor(...steps: Step[]) {
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.waiting = new Promise((resolve) => (this.#wait = resolve));
    this.events = this.#play(steps);
  }

  async *#play(steps: Step[]): AsyncGenerator<ChatEvent> {
    try {
      for (const step of steps) {
        if (step instanceof Error) throw step;
        if (step instanceof Promise) {
          this.#wait();
          await step;
          continue;
        }
        this.seen.push(step.type);
        yield step;
      }
    } finally {
      this.#end();
    }
  }
}

interface Options {
  streaming: boolean;
  anthropic?: boolean;
}

function request(play: Play, options: Options): Promise<Response> {
  return overAPort(appFor(play, options), pathOf(options), { method: 'POST' });
}

function pathOf({ anthropic = false }: Options): string {
  return anthropic ? '/v1/messages' : '/v1/chat/completions';
}

function appFor(play: Play, options: Options): HttpApp {
  const dialect = options.anthropic === true ? anthropicMessages : openAiChat;
  const app = createApp(silentLog());
  app.post(pathOf(options), (context) => {
    const facts = { requestId: 'id', created: 1, model: 'tiny', includeUsage: false, maxTokens: undefined };
    const headers = () => ({ 'X-After': play.seen.join(' ') });
    return respond(context, {
      events: play.events,
      reply: dialect.reply(facts),
      streaming: options.streaming,
      headers,
    });
  });
  return app;
}

describe('a stream', () => {
  test('has the headers of a stream, the events in order, and its end', async () => {
    const play = new Play(ACCEPTED, STARTED, text('Hel'), text('lo'), DONE);
    const response = await request(play, { streaming: true });
    expect([response.status, response.headers.get('content-type'), response.headers.get('cache-control')]).toEqual([
      200,
      'text/event-stream',
      'no-cache',
    ]);
    expect(response.headers.get('x-after')).toBe('accepted started text');
    const body = await response.text();
    expect([...body.matchAll(/"content":"(\w*)"/gu)].map(([, content]) => content)).toEqual(['', 'Hel', 'lo']);
    expect(body).toMatch(/\n\ndata: \[DONE\]\n\n$/u);
    await play.ended;
  });

  test('begins only with the first content', async () => {
    let open: () => void = () => undefined;
    const loaded = new Promise<void>((resolve) => (open = resolve));
    const play = new Play(ACCEPTED, loaded, STARTED, text('Hello'), DONE);
    const response = request(play, { streaming: true });
    await play.waiting;
    const early = await Promise.race([response.then(() => 'answered'), nextTurn('waiting')]);
    expect([early, play.seen]).toEqual(['waiting', ['accepted']]);
    open();
    expect((await response).headers.get('x-after')).toBe('accepted started text');
  });

  test('without any content is whole all the same', async () => {
    const play = new Play(ACCEPTED, STARTED, DONE);
    const response = await request(play, { streaming: true });
    expect(await response.text()).toMatch(/"finish_reason":"stop".*\[DONE\]/su);
    await play.ended;
  });

  test('that broke after content says so in itself, and is not said to be complete', async () => {
    const broken = new DarkbloomError('runner_died', 'The process that ran the model ended.');
    const response = await request(new Play(STARTED, text('Hel'), broken), { streaming: true });
    expect(response.status).toBe(200);
    const body = await response.text();
    const last = body.trimEnd().split('\n\n').at(-1) ?? '';
    expect(JSON.parse(last.replace('data: ', ''))).toEqual({
      error: { type: 'provider_error', code: 'runner_died', message: 'The process that ran the model ended.' },
    });
    expect(body).not.toContain('[DONE]');
  });

  test('of the other dialect that broke ends with its event for errors', async () => {
    const broken = new DarkbloomError('provider_error', 'provider disconnected');
    const response = await request(new Play(STARTED, text('Hel'), broken), { streaming: true, anthropic: true });
    const body = await response.text();
    expect(body).toMatch(/event: error\ndata: \{"type":"error","error":\{"type":"api_error",.*\}\}\n\n$/u);
    expect(body).not.toContain('message_stop');
  });

  test('that broke by a fault of ours says nothing of the fault', async () => {
    const response = await request(new Play(STARTED, text('Hel'), new Error('a secret')), { streaming: true });
    const body = await response.text();
    expect(body).toContain('internal error');
    expect(body).not.toContain('secret');
  });

  test('whose client has left is read to its end', async () => {
    let open: () => void = () => undefined;
    const left = new Promise<void>((resolve) => (open = resolve));
    const rest = Array.from({ length: 100 }, () => text('lo'));
    const play = new Play(STARTED, text('Hel'), left, ...rest, CANCELLED);
    const response = await request(play, { streaming: true });
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    open();
    await play.ended;
    expect(play.seen).toEqual(['started', 'text', ...rest.map(() => 'text'), 'cancelled']);
  });

  test('whose client stopped reading, and then leaves, is read to its end', async () => {
    const more = Array.from({ length: 16 }, () => text('x'.repeat(2 ** 20))); // than any connection takes up
    const play = new Play(STARTED, ...more, CANCELLED);
    const server = await listen(appFor(play, { streaming: true }), { host: '127.0.0.1', port: 0 });
    onTestFinished(() => server.close());
    const client = connect(server.port, '127.0.0.1');
    client.write('POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n');
    client.once('data', () => client.destroy());
    await play.ended;
    expect(play.seen).toHaveLength(18);
  });
});

describe('a whole body', () => {
  test('is written when the answer is complete', async () => {
    const play = new Play(ACCEPTED, STARTED, text('Hel'), text('lo'), DONE);
    const response = await request(play, { streaming: false });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(await response.json()).toMatchObject({
      object: 'chat.completion',
      choices: [{ message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 11, completion_tokens: 2, total_tokens: 13 },
    });
    await play.ended;
  });

  test('without any content is empty', async () => {
    const response = await request(new Play(STARTED, DONE), { streaming: false });
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: '' } }] });
  });

  test('of an answer that broke in the middle is the error with its status', async () => {
    const broken = new DarkbloomError('runner_died', 'The process that ran the model ended.');
    const response = await request(new Play(STARTED, text('Hel'), broken), { streaming: false });
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ error: { code: 'runner_died' } });
  });

  test('of a client that has left is read to its end', async () => {
    const play = new Play(STARTED, text('Hel'), text('lo'), CANCELLED);
    const response = await request(play, { streaming: false });
    await play.ended;
    expect(response.status).toBe(499);
  });
});

describe.each([true, false])('what fails before the first content (as a stream: %s)', (streaming) => {
  test('is an error with its own status and headers', async () => {
    const refused = new DarkbloomError('over_capacity', 'All slots are busy.', { retryAfterS: 6 });
    const response = await request(new Play(ACCEPTED, STARTED, refused), { streaming });
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '6']);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toMatchObject({ error: { type: 'rate_limit_exceeded' } });
  });

  test('has the shape of the other dialect on its path', async () => {
    const refused = new DarkbloomError('context_length_exceeded', '3000 tokens of 2048.', { param: 'messages' });
    const response = await request(new Play(refused), { streaming, anthropic: true });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { type: 'invalid_request_error', code: 'context_length_exceeded', param: 'messages' },
    });
  });

  test('ends whoever makes the events, also where the fault is in the writing of the answer', async () => {
    const play = new Play(ACCEPTED, STARTED, text('Hel'), DONE);
    const app = createApp(silentLog());
    app.post('/v1/chat/completions', (context) => {
      const facts = { requestId: 'id', created: 1, model: 'tiny', includeUsage: false, maxTokens: undefined };
      const headers = () => {
        throw new TypeError('no headers');
      };
      return respond(context, { events: play.events, reply: openAiChat.reply(facts), streaming, headers });
    });
    const response = await overAPort(app, '/v1/chat/completions', { method: 'POST' });
    expect(response.status).toBe(500);
    await play.ended;
    expect(play.seen).toEqual(['accepted', 'started', 'text']);
  });

  test('is our fault where the events just stop', async () => {
    const response = await request(new Play(ACCEPTED), { streaming });
    expect(response.status).toBe(500);
  });
});
