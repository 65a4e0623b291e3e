import { describe, expect, test } from 'vitest';
import { DarkbloomError, type ErrorCode } from '../../src/errors.js';
import { anthropicMessages } from '../../src/inference/anthropic.js';
import type { ReplyFacts } from '../../src/inference/dialect.js';
import type { ChatEvent, JsonObject } from '../../src/inference/types.js';

const facts: ReplyFacts = { requestId: 'r1', created: 1782000000, model: 'tiny', includeUsage: false, maxTokens: 9 };

function done(changes: Partial<Extract<ChatEvent, { type: 'done' }>> = {}): ChatEvent {
  const usage = { promptTokens: 11, completionTokens: 2 };
  return { type: 'done', finishReason: 'stop', stopSequence: null, usage, ...changes };
}

const START =
  'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_r1","type":"message","role":"assistant",' +
  '"model":"tiny","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":11,"output_tokens":0}}}\n\n';
const BLOCK =
  'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n';
const delta = (text: string) =>
  `event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":${JSON.stringify(text)}}}\n\n`;
const BLOCK_STOP = 'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n';
const end = (reason: string, sequence: string | null = null) =>
  `event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"${reason}","stop_sequence":${JSON.stringify(sequence)}},` +
  '"usage":{"input_tokens":11,"output_tokens":2}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n';

function stream(events: ChatEvent[], changes: Partial<ReplyFacts> = {}): string {
  const reply = anthropicMessages.reply({ ...facts, ...changes });
  return events.map((event) => reply.frames(event)).join('');
}

const started: ChatEvent[] = [{ type: 'accepted' }, { type: 'started', promptTokens: 11 }];
const text = (piece: string): ChatEvent => ({ type: 'text', text: piece });

describe('a stream of messages', () => {
  test('is these bytes', () => {
    expect(stream([...started, text('Hi'), text('!\n'), done()])).toBe(
      START + BLOCK + delta('Hi') + delta('!\n') + BLOCK_STOP + end('end_turn'),
    );
  });

  test('has no block when there is no text', () => {
    expect(stream([...started, done()])).toBe(START + end('end_turn'));
  });

  test('opens its block once, and shows no piece that is empty', () => {
    expect(stream([...started, text(''), text('Hi'), text(''), done()])).toBe(
      START + BLOCK + delta('Hi') + BLOCK_STOP + end('end_turn'),
    );
  });

  test.each([
    ['the stop string that was found', done({ stopSequence: 'END' }), end('stop_sequence', 'END')],
    ['the bound of the model', done({ finishReason: 'length' }), end('max_tokens')],
    ['the bound of the client', done({ usage: { promptTokens: 11, completionTokens: 2 } }), end('max_tokens')],
  ])('names %s', (_, event, expected) => {
    expect(stream([...started, event], { maxTokens: 2 })).toBe(START + expected);
  });

  test('counts what was in the cache beside the input, from the start on', () => {
    const usage = { promptTokens: 11, cachedTokens: 8, completionTokens: 2 };
    const text = stream([{ type: 'started', promptTokens: 11, cachedTokens: 8 }, done({ usage })]);
    expect(text).toContain('"usage":{"input_tokens":3,"cache_read_input_tokens":8,"output_tokens":0}');
    expect(text).toContain('"usage":{"input_tokens":3,"cache_read_input_tokens":8,"output_tokens":2}');
  });

  test('shows nothing of a cancellation', () => {
    expect(stream([{ type: 'accepted' }, { type: 'cancelled', usage: { promptTokens: 0, completionTokens: 0 } }])).toBe(
      '',
    );
  });

  test('that breaks ends with an error event', () => {
    expect(anthropicMessages.reply(facts).failure(new DarkbloomError('runner_died', 'It ended.'))).toBe(
      'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"It ended.","code":"runner_died"}}\n\n',
    );
  });
});

describe('a whole message', () => {
  test('is this', () => {
    const reply = anthropicMessages.reply(facts);
    for (const event of [...started, text('Hi'), text('!'), done()]) reply.frames(event);
    expect(reply.body()).toEqual({
      id: 'msg_r1',
      type: 'message',
      role: 'assistant',
      model: 'tiny',
      content: [{ type: 'text', text: 'Hi!' }],
      stop_reason: 'end_turn',
      stop_sequence: null,
      usage: { input_tokens: 11, output_tokens: 2 },
    });
  });

  test('without text has no block', () => {
    const reply = anthropicMessages.reply(facts);
    reply.frames(done());
    expect(reply.body()['content']).toEqual([]);
  });

  test('does not exist before the answer is complete', () => {
    expect(() => anthropicMessages.reply(facts).body()).toThrow(TypeError);
  });
});

describe('a body of messages as chat', () => {
  const user = { role: 'user', content: 'Hi' };
  test.each<[string, JsonObject, JsonObject]>([
    ['the least', { model: 'm', messages: [user] }, { model: 'm', messages: [user] }],
    [
      'a system text comes first',
      { model: 'm', system: 'Be short.', messages: [user] },
      { model: 'm', messages: [{ role: 'system', content: 'Be short.' }, user] },
    ],
    [
      'system blocks are lines',
      {
        model: 'm',
        system: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
        messages: [user],
      },
      { model: 'm', messages: [{ role: 'system', content: 'a\nb' }, user] },
    ],
    ['an empty system text is none', { model: 'm', system: [], messages: [user] }, { model: 'm', messages: [user] }],
    [
      'blocks of a message are joined',
      {
        model: 'm',
        messages: [
          {
            role: 'assistant',
            content: [
              { type: 'text', text: 'a' },
              { type: 'text', text: 'b' },
            ],
          },
        ],
      },
      { model: 'm', messages: [{ role: 'assistant', content: 'ab' }] },
    ],
    [
      'the fields that mean the same',
      { model: 'm', messages: [user], max_tokens: 5, temperature: 0, top_p: 1, top_k: 3, stream: true, metadata: {} },
      { model: 'm', messages: [user], max_tokens: 5, temperature: 0, top_p: 1, top_k: 3, stream: true },
    ],
    [
      'stop strings',
      { model: 'm', messages: [user], stop_sequences: ['a', 'b'] },
      { model: 'm', messages: [user], stop: ['a', 'b'] },
    ],
    [
      'nulls',
      { model: 'm', messages: [user], system: null, stop_sequences: null, tools: null },
      { model: 'm', messages: [user] },
    ],
  ])('%s', (_, body, chat) => {
    expect(anthropicMessages.lower(body)).toEqual(chat);
  });

  test.each<[JsonObject, string, string]>([
    [{ model: 5 }, 'model', "'model': must be a string; got a whole number."],
    [{ messages: [] }, 'messages', "'messages': must not be empty; got a list of 0."],
    [
      { messages: [{ role: 'robot', content: 'x' }] },
      'messages',
      "'messages.0.role': must be 'user', 'assistant' or 'system'; got a string of 5 characters.",
    ],
    [
      { messages: [{ role: 'user', content: [{ type: 'image', source: {} }] }] },
      'messages',
      "'messages.0.content.0.type': only text blocks are supported; got a string of 5 characters.",
    ],
    [{ system: 5 }, 'system', "'system': must be a string or a list of text blocks; got a whole number."],
    [{ tools: [{}] }, 'tools', "'tools': tools are not supported yet; got a list of 1."],
    [
      { stop_sequences: [''] },
      'stop_sequences',
      "'stop_sequences.0': must not be empty; got a string of 0 characters.",
    ],
    [
      { stop_sequences: ['a', 'b', 'c', 'd', 'e'] },
      'stop_sequences',
      "'stop_sequences': must be at most 4 strings; got a list of 5.",
    ],
  ])('%j is refused, naming the field, the limit and the kind', (fields, param, message) => {
    const lower = () => anthropicMessages.lower({ model: 'm', messages: [user], ...fields });
    expect(lower).toThrow(expect.objectContaining({ code: 'invalid_request', param, message }) as Error);
  });
});

test.each<[ErrorCode, string]>([
  ['invalid_request', 'invalid_request_error'],
  ['no_linked_machine', 'invalid_request_error'],
  ['unprocessable', 'invalid_request_error'],
  ['unauthorized', 'authentication_error'],
  ['insufficient_quota', 'billing_error'],
  ['forbidden', 'permission_error'],
  ['model_not_found', 'not_found_error'],
  ['too_large', 'request_too_large'],
  ['over_capacity', 'rate_limit_error'],
  ['machine_offline', 'overloaded_error'],
  ['runner_died', 'overloaded_error'],
  ['internal', 'api_error'],
  ['unsupported', 'api_error'],
  ['timeout', 'api_error'],
])('%s is told as %s, with our reason beside it', (code, type) => {
  const error = new DarkbloomError(code, 'x', { param: 'p' });
  expect(anthropicMessages.errorBody(error, 'r1')).toEqual({
    type: 'error',
    error: { type, message: 'x', code: error.wireCode, param: 'p' },
    request_id: 'r1',
  });
});
