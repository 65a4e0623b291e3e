import { describe, expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { anthropicMessages } from '../../src/inference/anthropic.js';
import type { ReplyFacts } from '../../src/inference/dialect.js';
import type { ChatEvent, JsonObject } from '../../src/inference/types.js';

const facts: ReplyFacts = { requestId: 'r1', created: 1782000000, model: 'tiny', includeUsage: false, maxTokens: 9 };
const THINKING = { asked: { thinking: { type: 'enabled', budget_tokens: 1024 } } };
const OMITTED = { asked: { thinking: { type: 'adaptive', display: 'omitted' } } };

function done(changes: Partial<Extract<ChatEvent, { type: 'done' }>> = {}): ChatEvent {
  const usage = { promptTokens: 11, completionTokens: 2 };
  return { type: 'done', finishReason: 'stop', stopSequence: null, usage, ...changes };
}
const started: ChatEvent[] = [{ type: 'accepted' }, { type: 'started', promptTokens: 11 }];
const text = (piece: string): ChatEvent => ({ type: 'text', text: piece });
const thought = (piece: string): ChatEvent => ({ type: 'reasoning', text: piece });
const call = (index: number, id: string): ChatEvent => ({ type: 'tool_call', index, id, name: 'f' });
const args = (index: number, piece: string): ChatEvent => ({ type: 'tool_arguments', index, text: piece });

const usage = (output: number) =>
  `{"input_tokens":11,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":${output}}`;
const frame = (event: string, fields = '') => `event: ${event}\ndata: {"type":"${event}"${fields}}\n\n`;
const START = frame(
  'message_start',
  ',"message":{"id":"msg_r1","type":"message","role":"assistant","model":"tiny","content":[],"stop_reason":null,' +
    `"stop_sequence":null,"usage":${usage(0)}}`,
);
const block = (index: number, content: object) =>
  frame('content_block_start', `,"index":${index},"content_block":${JSON.stringify(content)}`);
const delta = (index: number, content: object) =>
  frame('content_block_delta', `,"index":${index},"delta":${JSON.stringify(content)}`);
const stop = (index: number) => frame('content_block_stop', `,"index":${index}`);
const end = (reason: string, sequence: string | null = null) =>
  frame(
    'message_delta',
    `,"delta":{"stop_reason":"${reason}","stop_sequence":${JSON.stringify(sequence)}},"usage":${usage(2)}`,
  ) + frame('message_stop');

const TEXT = { type: 'text', text: '' };
const said = (index: number, words: string) => delta(index, { type: 'text_delta', text: words });
const use = (id: string) => ({ type: 'tool_use', id, name: 'f', input: {} });
const json = (index: number, partial_json: string) => delta(index, { type: 'input_json_delta', partial_json });
const THOUGHT = { type: 'thinking', thinking: '', signature: '' };
const signed = (index: number) => delta(index, { type: 'signature_delta', signature: 'unsigned-r1' });

/** Events of an answer, the stream that they become, and the blocks of the whole message. */
const ANSWERS: [string, Partial<ReplyFacts>, ChatEvent[], string, JsonObject[]][] = [
  ['nothing', {}, [done()], end('end_turn'), []],
  [
    'text, without the pieces that are empty',
    {},
    [text(''), text('Hi'), text(''), text('!\n'), done()],
    block(0, TEXT) + said(0, 'Hi') + said(0, '!\n') + stop(0) + end('end_turn'),
    [{ type: 'text', text: 'Hi!\n' }],
  ],
  [
    'text and two calls, one without arguments',
    {},
    [
      text('See'),
      call(0, 'call_a'),
      args(0, '{"a":'),
      args(0, '1}'),
      call(1, 'b'),
      done({ finishReason: 'tool_calls' }),
    ],
    block(0, TEXT) +
      said(0, 'See') +
      stop(0) +
      block(1, use('toolu_a')) +
      json(1, '{"a":') +
      json(1, '1}') +
      stop(1) +
      block(2, use('b')) +
      stop(2) +
      end('tool_use'),
    [{ type: 'text', text: 'See' }, { ...use('toolu_a'), input: { a: 1 } }, use('b')],
  ],
  [
    'a call that a provider ends with stop',
    {},
    [call(0, 'a'), done()],
    block(0, use('a')) + stop(0) + end('tool_use'),
    [use('a')],
  ],
  [
    'a call that was cut off',
    { maxTokens: 2 },
    [call(0, 'a'), args(0, '{"a'), done({ finishReason: 'length' })],
    block(0, use('a')) + json(0, '{"a') + stop(0) + end('max_tokens'),
    [use('a')],
  ],
  [
    'thoughts that nobody asked for',
    {},
    [thought('Hm'), text('Hi'), done()],
    block(0, TEXT) + said(0, 'Hi') + stop(0) + end('end_turn'),
    [{ type: 'text', text: 'Hi' }],
  ],
  [
    'thoughts, text, and thoughts again',
    THINKING,
    [thought('Hm'), thought('.'), text('Hi'), thought('So'), done()],
    block(0, THOUGHT) +
      delta(0, { type: 'thinking_delta', thinking: 'Hm' }) +
      delta(0, { type: 'thinking_delta', thinking: '.' }) +
      signed(0) +
      stop(0) +
      block(1, TEXT) +
      said(1, 'Hi') +
      stop(1) +
      block(2, THOUGHT) +
      delta(2, { type: 'thinking_delta', thinking: 'So' }) +
      signed(2) +
      stop(2) +
      end('end_turn'),
    [
      { type: 'thinking', thinking: 'Hm.', signature: 'unsigned-r1' },
      { type: 'text', text: 'Hi' },
      { type: 'thinking', thinking: 'So', signature: 'unsigned-r1' },
    ],
  ],
  [
    'thoughts that are only to be marked',
    OMITTED,
    [thought('Hm'), text('Hi'), done()],
    block(0, THOUGHT) + signed(0) + stop(0) + block(1, TEXT) + said(1, 'Hi') + stop(1) + end('end_turn'),
    [
      { type: 'thinking', thinking: '', signature: 'unsigned-r1' },
      { type: 'text', text: 'Hi' },
    ],
  ],
];

describe.each(ANSWERS)('%s', (_, changes, events, frames, content) => {
  test('as a stream is these bytes', () => {
    const reply = anthropicMessages.reply({ ...facts, ...changes });
    expect([...started, ...events].map((event) => reply.frames(event)).join('')).toBe(START + frames);
  });

  test('as a message has these blocks', () => {
    const reply = anthropicMessages.reply({ ...facts, ...changes });
    for (const event of [...started, ...events]) reply.frames(event);
    expect(reply.body()).toMatchObject({ type: 'message', id: 'msg_r1', usage: JSON.parse(usage(2)) as JsonObject });
    expect(reply.body()['content']).toEqual(content);
  });
});

test.each([
  ['the stop string that was found', done({ stopSequence: 'END' }), end('stop_sequence', 'END')],
  ['the bound of the model', done({ finishReason: 'length' }), end('max_tokens')],
  ['the bound of the client', done(), end('max_tokens')],
])('a stream names %s', (_, event, expected) => {
  const reply = anthropicMessages.reply({ ...facts, maxTokens: 2 });
  expect(reply.frames(event)).toBe(expected);
});

test('what was in the cache is counted beside the input, from the start on', () => {
  const reply = anthropicMessages.reply(facts);
  const cached = { promptTokens: 11, cachedTokens: 8 };
  const counts =
    '"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":8,"output_tokens":';
  expect(reply.frames({ type: 'started', ...cached })).toContain(`${counts}0}`);
  expect(reply.frames(done({ usage: { ...cached, completionTokens: 2 } }))).toContain(`${counts}2}`);
});

test('nothing is shown of a cancellation', () => {
  const reply = anthropicMessages.reply(facts);
  expect(reply.frames({ type: 'cancelled', usage: { promptTokens: 0, completionTokens: 0 } })).toBe('');
  expect(() => reply.body()).toThrow(TypeError);
});

test('a stream that breaks ends with an error event', () => {
  expect(anthropicMessages.reply(facts).failure(new DarkbloomError('runner_died', 'It ended.'))).toBe(
    'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"It ended.","code":"runner_died"}}\n\n',
  );
});
