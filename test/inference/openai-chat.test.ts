import { describe, expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { parseChat } from '../../src/inference/openai-chat.js';
import { PLAIN } from '../../src/inference/types.js';

const SECRET = 'open sesame';
const plain = { model: 'tiny', messages: [{ role: 'user', content: 'Hi' }] };

function refusal(body: unknown): DarkbloomError {
  try {
    parseChat(body);
  } catch (error) {
    if (error instanceof DarkbloomError) return error;
    throw error;
  }
  throw new Error('The body was taken.');
}

describe('a chat body', () => {
  test('that says only what it must gets the defaults', () => {
    expect(parseChat(plain)).toEqual({
      ...PLAIN,
      model: 'tiny',
      messages: [{ role: 'user', content: 'Hi' }],
      stop: [],
      sampling: {
        temperature: 0.8,
        topP: 0.95,
        topK: 40,
        minP: 0.05,
        presencePenalty: 0,
        frequencyPenalty: 0,
        repetitionPenalty: 1,
      },
    });
  });

  test('with null in every optional field is the same as one without them', () => {
    const keys =
      'max_tokens max_completion_tokens temperature top_p top_k min_p presence_penalty frequency_penalty ' +
      'repetition_penalty seed stop n logprobs top_logprobs logit_bias tools tool_choice response_format ' +
      'parallel_tool_calls reasoning_effort chat_template_kwargs stream stream_options user metadata store audio ' +
      'prediction web_search_options functions function_call modalities verbosity service_tier prompt_cache_key';
    const nulls = Object.fromEntries(keys.split(' ').map((key) => [key, null]));
    expect(parseChat({ ...plain, ...nulls })).toEqual(parseChat(plain));
  });

  test('that says everything keeps what it says', () => {
    const sampling = { temperature: 0, top_p: 0.5, top_k: 0, min_p: 0, presence_penalty: -2, frequency_penalty: 2 };
    const more = { repetition_penalty: 1.1, seed: 7, stop: ['a', 'b'], max_tokens: 5, darkbloom: { owner: true } };
    expect(parseChat({ ...plain, ...sampling, ...more })).toEqual({
      ...PLAIN,
      model: 'tiny',
      messages: [{ role: 'user', content: 'Hi' }],
      stop: ['a', 'b'],
      maxTokens: 5,
      sampling: {
        temperature: 0,
        topP: 0.5,
        topK: 0,
        minP: 0,
        presencePenalty: -2,
        frequencyPenalty: 2,
        repetitionPenalty: 1.1,
        seed: 7,
      },
      owner: true,
    });
  });

  test('may hold fields that nobody knows', () => {
    expect(parseChat({ ...plain, user: 'me', stream_options: {}, darkbloom: { more: 'x' } })).not.toHaveProperty(
      'owner',
    );
  });

  test('names whose cached prefixes it may share, or shares none', () => {
    expect(parseChat({ ...plain, darkbloom: { cache_scope: 'x' } }).cacheScope).toBe('x');
    expect(parseChat(plain)).not.toHaveProperty('cacheScope');
  });

  test('with top_p 0 asks for the likeliest token', () => {
    const { temperature, topP } = parseChat({ ...plain, top_p: 0, temperature: 1 }).sampling;
    expect({ temperature, topP }).toEqual({ temperature: 0, topP: 1 });
  });

  test.each([
    [{ max_tokens: 3 }, 3],
    [{ max_completion_tokens: 4 }, 4],
    [{ max_tokens: 3, max_completion_tokens: 4 }, 3],
    [{ max_tokens: null, max_completion_tokens: 4 }, 4],
    [{ max_output_tokens: 6 }, 6],
    [{ max_completion_tokens: 4, max_output_tokens: 6 }, 4],
    [{}, undefined],
  ])('with %o is bound to %s tokens', (fields, bound) => {
    expect(parseChat({ ...plain, ...fields }).maxTokens).toBe(bound);
  });

  test.each([
    ['system', 'system'],
    ['developer', 'system'],
    ['user', 'user'],
    ['assistant', 'assistant'],
    ['tool', 'tool'],
    ['function', 'tool'],
  ])('takes the role %s as %s', (role, ours) => {
    expect(parseChat({ ...plain, messages: [{ role, content: 'x' }] }).messages).toEqual([
      { role: ours, content: 'x' },
    ]);
  });

  test.each([
    [
      'a list of text parts is joined',
      [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
      'ab',
    ],
    ['null is empty', null, ''],
    ['nothing is empty', undefined, ''],
    ['a string stays as it is', ' a\n', ' a\n'],
  ])('content: %s', (_, content, expected) => {
    expect(parseChat({ ...plain, messages: [{ role: 'user', content }] }).messages[0]?.content).toBe(expected);
  });

  test.each([
    ['x', ['x']],
    [
      ['x', 'y'],
      ['x', 'y'],
    ],
    [[], []],
  ])('takes stop %j', (stop, expected) => {
    expect(parseChat({ ...plain, stop }).stop).toEqual(expected);
  });
});

describe('a bad field is named, with its limit and the kind of what came, never the value', () => {
  const message = (extra: object) => ({
    messages: [
      { role: 'user', content: 'Hi' },
      { role: 'user', ...extra },
    ],
  });
  const longStop = SECRET.repeat(30);
  test.each([
    [{ model: undefined }, 'model', "'model': must be a string; got nothing."],
    [{ model: 7 }, 'model', "'model': must be a string; got a whole number."],
    [{ model: '' }, 'model', "'model': must not be empty; got a string of 0 characters."],
    [{ messages: SECRET }, 'messages', "'messages': must be a list; got a string of 11 characters."],
    [{ messages: [] }, 'messages', "'messages': must not be empty; got a list of 0."],
    [{ messages: [SECRET] }, 'messages', "'messages.0': must be an object; got a string of 11 characters."],
    [
      { messages: [{ role: SECRET, content: SECRET }] },
      'messages',
      "'messages.0.role': must be one of system, developer, user, assistant, tool, function; got a string of 11 characters.",
    ],
    [
      message({ content: 5 }),
      'messages',
      "'messages.1.content': must be a string or a list of text parts; got a whole number.",
    ],
    [
      message({
        content: [
          { type: 'text', text: SECRET },
          { type: 'image_url', image_url: { url: SECRET } },
        ],
      }),
      'messages',
      "'messages.1.content.1.type': only text parts are supported; got a string of 9 characters.",
    ],
    [
      message({ content: [{ type: 'text', text: 5 }] }),
      'messages',
      "'messages.1.content.0.text': must be a string; got a whole number.",
    ],
    [{ max_tokens: 0 }, 'max_tokens', "'max_tokens': must be a whole number above 0; got a whole number."],
    [{ max_tokens: -5 }, 'max_tokens', "'max_tokens': must be a whole number above 0; got a negative number."],
    [{ max_tokens: 1.5 }, 'max_tokens', "'max_tokens': must be a whole number above 0; got a number with a fraction."],
    [{ max_tokens: '8' }, 'max_tokens', "'max_tokens': must be a whole number above 0; got a string of 1 characters."],
    [
      { max_completion_tokens: [] },
      'max_completion_tokens',
      "'max_completion_tokens': must be a whole number above 0; got a list of 0.",
    ],
    [{ temperature: 2.1 }, 'temperature', "'temperature': must be a number from 0 to 2; got a number with a fraction."],
    [{ temperature: -1 }, 'temperature', "'temperature': must be a number from 0 to 2; got a negative number."],
    [{ temperature: {} }, 'temperature', "'temperature': must be a number from 0 to 2; got an object."],
    [{ top_p: 2 }, 'top_p', "'top_p': must be a number from 0 to 1; got a whole number."],
    [{ top_k: -1 }, 'top_k', "'top_k': must be 0 or more; got a negative number."],
    [{ top_k: 0.5 }, 'top_k', "'top_k': must be a whole number; got a number with a fraction."],
    [{ min_p: true }, 'min_p', "'min_p': must be a number from 0 to 1; got a boolean."],
    [
      { presence_penalty: 3 },
      'presence_penalty',
      "'presence_penalty': must be a number from -2 to 2; got a whole number.",
    ],
    [
      { frequency_penalty: -3 },
      'frequency_penalty',
      "'frequency_penalty': must be a number from -2 to 2; got a negative number.",
    ],
    [
      { repetition_penalty: 0 },
      'repetition_penalty',
      "'repetition_penalty': must be a number from 0.01 to 10; got a whole number.",
    ],
    [
      { seed: SECRET },
      'seed',
      "'seed': must be a whole number from -9007199254740991 to 9007199254740991; got a string of 11 characters.",
    ],
    [{ stop: 5 }, 'stop', "'stop': must be a string or a list of strings; got a whole number."],
    [{ stop: '' }, 'stop', "'stop': must not be empty; got a string of 0 characters."],
    [{ stop: longStop }, 'stop', "'stop': must be at most 256 characters; got a string of 330 characters."],
    [{ stop: ['a', ''] }, 'stop', "'stop.1': must not be empty; got a string of 0 characters."],
    [{ stop: ['a', 7] }, 'stop', "'stop.1': must be a string; got a whole number."],
    [{ stop: ['a', 'b', 'c', 'd', SECRET] }, 'stop', "'stop': must be at most 4 strings; got a list of 5."],
    [{ n: 2 }, 'n', "'n': only one answer for each request is supported; got a whole number."],
    [
      { logit_bias: SECRET },
      'logit_bias',
      "'logit_bias': must be an object of token ids; got a string of 11 characters.",
    ],
    [
      { logit_bias: { 5: 101 } },
      'logit_bias',
      "'logit_bias.5': must be a number from -100 to 100; got a whole number.",
    ],
    [
      { response_format: 'text' },
      'response_format',
      "'response_format': must be an object; got a string of 4 characters.",
    ],
    [
      { darkbloom: { owner: SECRET } },
      'darkbloom',
      "'darkbloom.owner': must be a boolean; got a string of 11 characters.",
    ],
    [{ endpoint: null }, 'endpoint', "'endpoint': this provider answers chat requests only; got null."],
  ])('%j', (fields, param, message) => {
    const error = refusal({ ...plain, ...fields });
    expect(error.message).toBe(message);
    expect([error.code, error.status, error.param]).toEqual(['invalid_request', 400, param]);
  });

  test.each([
    [null, 'null'],
    ['x', 'a string of 1 characters'],
    [[plain], 'a list of 1'],
  ])('a body that is no object: %j', (body, kind) => {
    const error = refusal(body);
    expect(error.message).toBe(`The body: must be an object; got ${kind}.`);
    expect(error.param).toBeUndefined();
  });
});

describe('another operation than chat is unsupported', () => {
  test.each([
    [{ endpoint: '/v1/completions' }],
    [{ darkbloom: { op: 'embed' } }],
    [{ darkbloom: { owner: true }, endpoint: '/v1/messages' }],
    [{ darkbloom: { owner: true, op: 'count' } }],
  ])('%j', (fields) => {
    const error = refusal({ model: 'tiny', input: SECRET, ...fields });
    expect([error.code, error.status]).toEqual(['unsupported', 501]);
    expect(error.message).not.toContain(SECRET);
  });
});
