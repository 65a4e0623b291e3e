import { describe, expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import type { ReplyFacts } from '../../src/inference/dialect.js';
import { openAiCompletions } from '../../src/inference/openai.js';
import { parseChat } from '../../src/inference/openai-chat.js';
import type { ChatEvent, JsonObject, TokenLogprob } from '../../src/inference/types.js';

const SECRET = 'open sesame';
const plain = { model: 'tiny', prompt: 'Hi' };

function refusal(body: JsonObject): DarkbloomError {
  try {
    openAiCompletions.lower(body);
  } catch (error) {
    if (error instanceof DarkbloomError) return error;
    throw error;
  }
  throw new Error('The body was taken.');
}

test.each(['Hi', ['Hi']])('the prompt %j is one message of a user', (prompt) => {
  const { messages } = parseChat(openAiCompletions.lower({ ...plain, prompt }));
  expect(messages).toEqual([{ role: 'user', content: 'Hi' }]);
});

test('the rest means what it means for chat; what only chat knows is not looked at', () => {
  const body = { ...plain, max_tokens: 3, logprobs: 2, stop: 'x', echo: false, best_of: 1, tools: [SECRET] };
  expect(parseChat(openAiCompletions.lower(body))).toMatchObject({
    maxTokens: 3,
    topLogprobs: 2,
    stop: ['x'],
    tools: [],
  });
  expect(parseChat(openAiCompletions.lower(plain))).not.toHaveProperty('topLogprobs');
});

describe('what cannot be served is refused by the name of its field', () => {
  const ONE_PROMPT = "'prompt': must be a string, or a list of one string";
  const REFUSED: [object, string, string][] = [
    [{ prompt: undefined }, 'prompt', `${ONE_PROMPT}; got nothing.`],
    [{ prompt: ['a', 'b'] }, 'prompt', `${ONE_PROMPT}; got a list of 2.`],
    [{ prompt: [] }, 'prompt', `${ONE_PROMPT}; got a list of 0.`],
    [{ prompt: [1] }, 'prompt', "'prompt.0': must be a string: tokens are not supported; got a whole number."],
    [{ prompt: [[1, 2]] }, 'prompt', "'prompt.0': must be a string: tokens are not supported; got a list of 2."],
    [{ echo: true }, 'echo', "'echo': must be false: the prompt is not repeated; got a boolean."],
    [
      { suffix: SECRET },
      'suffix',
      "'suffix': must be left out: texts are not filled in; got a string of 11 characters.",
    ],
    [{ best_of: 2 }, 'best_of', "'best_of': only one answer for each request is supported; got a whole number."],
    [{ n: 2 }, 'n', "'n': only one answer for each request is supported; got a whole number."],
    [{ logprobs: 6 }, 'logprobs', "'logprobs': must be a whole number from 0 to 5; got a whole number."],
    [{ logprobs: true }, 'logprobs', "'logprobs': must be a whole number from 0 to 5; got a boolean."],
    [{ max_tokens: 0 }, 'max_tokens', "'max_tokens': must be a whole number above 0; got a whole number."],
    [{ temperature: 3 }, 'temperature', "'temperature': must be a number from 0 to 2; got a whole number."],
  ];
  test.each(REFUSED.map(([fields, param, message]) => [message, param, fields] as const))(
    '%s',
    (message, param, fields) => {
      const error = refusal({ ...plain, ...fields });
      expect([error.message, error.param]).toEqual([message, param]);
    },
  );

  test('also where only the engine can tell', () => {
    const error = new DarkbloomError('context_length_exceeded', '9 of 8', { param: 'messages' });
    expect(openAiCompletions.errorBody(error, 'r')).toMatchObject({ error: { param: 'prompt' } });
  });
});

const facts: ReplyFacts = {
  requestId: 'r1',
  created: 1782000000,
  model: 'tiny',
  includeUsage: false,
  maxTokens: undefined,
};
const HEAD = '"id":"cmpl-r1","object":"text_completion","created":1782000000,"model":"tiny"';
const USAGE = '"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}';
const story: ChatEvent[] = [
  { type: 'accepted' },
  { type: 'started', promptTokens: 11 },
  { type: 'reasoning', text: SECRET },
  { type: 'text', text: 'Hi' },
  { type: 'text', text: ' you' },
  { type: 'done', finishReason: 'stop', stopSequence: null, usage: { promptTokens: 11, completionTokens: 2 } },
];
const chunk = (text: string, reason: string) =>
  `data: {${HEAD},"choices":[{"index":0,"text":"${text}","logprobs":null,"finish_reason":${reason}}]}\n\n`;

test.each([
  [false, ''],
  [true, `data: {${HEAD},"choices":[],${USAGE}}\n\n`],
])('a stream is these bytes (usage asked for: %j)', (includeUsage, usage) => {
  const reply = openAiCompletions.reply({ ...facts, includeUsage });
  expect(story.map((event) => reply.frames(event)).join('')).toBe(
    `${chunk('Hi', 'null')}${chunk(' you', 'null')}${chunk('', '"stop"')}${usage}data: [DONE]\n\n`,
  );
});

test('a whole body is this', () => {
  const reply = openAiCompletions.reply({ ...facts, maxTokens: 2 });
  for (const event of story) reply.frames(event);
  expect(reply.body()).toEqual({
    id: 'cmpl-r1',
    object: 'text_completion',
    created: 1782000000,
    model: 'tiny',
    choices: [{ index: 0, text: 'Hi you', logprobs: null, finish_reason: 'length' }],
    usage: { prompt_tokens: 11, completion_tokens: 2, total_tokens: 13 },
  });
});

test('probabilities are told in lists, with places that go on from chunk to chunk', () => {
  const logprob = (token: string, value: number): TokenLogprob => {
    const own = { token, logprob: value, bytes: [...Buffer.from(token)] };
    return { ...own, top: [own, { ...own, token: 'No', logprob: -3 }] };
  };
  const events: ChatEvent[] = [
    { type: 'text', text: 'Hi you', logprobs: [logprob('Hi', -0.5), logprob(' you', -1)] },
    { type: 'text', text: '!', logprobs: [logprob('!', -2)] },
    { type: 'done', finishReason: 'stop', stopSequence: null, usage: { promptTokens: 1, completionTokens: 3 } },
  ];
  const reply = openAiCompletions.reply(facts);
  const [, second = ''] = events.map((event) => reply.frames(event));
  expect(JSON.parse(second.replace('data: ', ''))).toMatchObject({
    choices: [{ logprobs: { tokens: ['!'], text_offset: [6] } }],
  });
  expect(reply.body()).toMatchObject({
    choices: [
      {
        logprobs: {
          tokens: ['Hi', ' you', '!'],
          token_logprobs: [-0.5, -1, -2],
          top_logprobs: [
            { Hi: -0.5, No: -3 },
            { ' you': -1, No: -3 },
            { '!': -2, No: -3 },
          ],
          text_offset: [0, 2, 6],
        },
      },
    ],
  });
});

test('a stream that breaks ends with an error and nothing else', () => {
  const failure = openAiCompletions.reply(facts).failure(new DarkbloomError('runner_died', 'It ended.'));
  expect(failure).toBe('data: {"error":{"type":"provider_error","message":"It ended.","code":"runner_died"}}\n\n');
});
