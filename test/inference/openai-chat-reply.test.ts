import { describe, expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { readChunk } from '../../src/inference/chunk-reader.js';
import type { ReplyFacts } from '../../src/inference/dialect.js';
import { openAiChat } from '../../src/inference/openai.js';
import { finishReason, OpenAiChatReply } from '../../src/inference/openai-chat-reply.js';
import type { ChatEvent, FinishReason } from '../../src/inference/types.js';

const facts: ReplyFacts = {
  requestId: 'r1',
  created: 1782000000,
  model: 'tiny',
  includeUsage: false,
  maxTokens: undefined,
};
const HEAD = '"id":"chatcmpl-r1","object":"chat.completion.chunk","created":1782000000,"model":"tiny"';

function done(reason: FinishReason = 'stop'): Extract<ChatEvent, { type: 'done' }> {
  return { type: 'done', finishReason: reason, stopSequence: null, usage: { promptTokens: 11, completionTokens: 2 } };
}
const story: ChatEvent[] = [
  { type: 'accepted' },
  { type: 'started', promptTokens: 11 },
  { type: 'text', text: 'Hi' },
  { type: 'text', text: ' "you"\n' },
  done(),
];

function stream(changes: Partial<ReplyFacts> = {}, events = story): string {
  const reply = openAiChat.reply({ ...facts, ...changes });
  return events.map((event) => reply.frames(event)).join('');
}

const CHUNKS =
  `data: {${HEAD},"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n` +
  `data: {${HEAD},"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n` +
  `data: {${HEAD},"choices":[{"index":0,"delta":{"content":" \\"you\\"\\n"},"finish_reason":null}]}\n\n` +
  `data: {${HEAD},"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n`;
const USAGE = '"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}';

describe('a chat stream', () => {
  test('is these bytes', () => {
    expect(stream()).toBe(`${CHUNKS}data: [DONE]\n\n`);
  });

  test('has one usage chunk before its end when the client asked for it', () => {
    expect(stream({ includeUsage: true })).toBe(`${CHUNKS}data: {${HEAD},"choices":[],${USAGE}}\n\ndata: [DONE]\n\n`);
  });

  test('tells how much of the prompt was in the cache', () => {
    const usage = { promptTokens: 11, cachedTokens: 8, completionTokens: 2 };
    const told =
      '"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":8}}';
    expect(stream({ includeUsage: true }, [{ ...done(), usage }])).toContain(told);
    expect(stream({ includeUsage: true }, [{ ...done(), usage: { ...usage, cachedTokens: 0 } }])).toContain(USAGE);
  });

  test('says that the bound was reached, though the provider says that it stopped', () => {
    expect(stream({ maxTokens: 2 })).toContain('"finish_reason":"length"');
    expect(stream({ maxTokens: 3 })).toContain('"finish_reason":"stop"');
  });

  test('shows nothing of a cancellation', () => {
    const usage = { promptTokens: 11, completionTokens: 0 };
    expect(stream({}, [{ type: 'accepted' }, { type: 'cancelled', usage }])).toBe('');
  });

  test('that breaks ends with an error and nothing else', () => {
    const reply = openAiChat.reply(facts);
    reply.frames({ type: 'started', promptTokens: 11 });
    expect(reply.failure(new DarkbloomError('runner_died', 'It ended.'))).toBe(
      'data: {"error":{"type":"provider_error","message":"It ended.","code":"runner_died"}}\n\n',
    );
  });
});

test('on the wire each event is a line without what ends it, and there is no [DONE]', () => {
  const reply = new OpenAiChatReply({ ...facts, includeUsage: true });
  const lines = story.flatMap((event) => reply.events(event));
  expect(lines).toHaveLength(5);
  for (const line of lines) expect(line).toMatch(/^data: \{[^\n]*\}$/u);
  expect(lines.at(-1)).toBe(`data: {${HEAD},"choices":[],${USAGE}}`);
});

test('on the wire the first chunk tells the size of the prompt, and what of it was in the cache', () => {
  const reply = new OpenAiChatReply({ ...facts, forWire: true });
  const [first = ''] = reply.events({ type: 'started', promptTokens: 11, cachedTokens: 8 });
  expect(readChunk(first)).toMatchObject({ promptTokens: 11, cachedTokens: 8 });
});

describe('a whole chat body', () => {
  test('is this', () => {
    const reply = openAiChat.reply(facts);
    for (const event of story) reply.frames(event);
    expect(reply.body()).toEqual({
      id: 'chatcmpl-r1',
      object: 'chat.completion',
      created: 1782000000,
      model: 'tiny',
      choices: [{ index: 0, message: { role: 'assistant', content: 'Hi "you"\n' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 11, completion_tokens: 2, total_tokens: 13 },
    });
  });

  test('does not exist before the answer is complete', () => {
    const reply = openAiChat.reply(facts);
    reply.frames({ type: 'text', text: 'half' });
    expect(() => reply.body()).toThrow(TypeError);
  });
});

test.each([
  ['stop', 2, undefined, 'stop'],
  ['stop', 2, 3, 'stop'],
  ['stop', 3, 3, 'length'],
  ['stop', 4, 3, 'length'],
  ['length', 2, undefined, 'length'],
  ['length', 2, 3, 'length'],
] as const)('%s after %s tokens of at most %s is told as %s', (reason, completionTokens, maxTokens, told) => {
  expect(finishReason({ finishReason: reason, usage: { promptTokens: 1, completionTokens } }, maxTokens)).toBe(told);
});

test.each([
  [
    new DarkbloomError('invalid_request', "'n': no.", { param: 'n' }),
    { type: 'invalid_request_error', message: "'n': no.", code: 'invalid_request_error', param: 'n' },
  ],
  [
    new DarkbloomError('machine_offline', 'Off.'),
    { type: 'machine_offline', message: 'Off.', code: 'machine_offline' },
  ],
])('an error has a type, a message and a code, and the field if there is one: %s', (error, expected) => {
  expect(openAiChat.errorBody(error, 'r1')).toEqual({ error: expected });
});

test('a chat body goes on as it came', () => {
  const body = { model: 'tiny', messages: [], anything: 1 };
  expect(openAiChat.lower(body)).toBe(body);
});
