import { describe, expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { parseChat } from '../../src/inference/openai-chat.js';
import type { ChatRequest } from '../../src/inference/types.js';

const SECRET = 'open sesame';
const plain = { model: 'tiny', messages: [{ role: 'user', content: 'Hi' }] };
const weather = {
  type: 'function',
  function: { name: 'weather', description: 'of a city', parameters: { type: 'object', properties: { city: {} } } },
};
const tools = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ type: 'function', function: { name: `tool_${index}` } }));
const nested = (depth: number): object => (depth === 0 ? {} : { items: nested(depth - 1) });

function refusal(body: unknown): DarkbloomError {
  try {
    parseChat(body);
  } catch (error) {
    if (error instanceof DarkbloomError) return error;
    throw error;
  }
  throw new Error('The body was taken.');
}

describe('what may be asked for beside text', () => {
  test.each<[string, object, Partial<ChatRequest>]>([
    [
      'a tool',
      { tools: [weather] },
      { tools: [{ name: 'weather', description: 'of a city', parameters: weather.function.parameters }] },
    ],
    [
      'a tool of which only the name is said',
      { tools: [{ type: 'function', function: { name: 'now', description: null, strict: true } }] },
      { tools: [{ name: 'now', parameters: { type: 'object', properties: {} } }] },
    ],
    ['any call', { tools: [weather], tool_choice: 'required' }, { toolChoice: 'required' }],
    ['no call', { tools: [weather], tool_choice: 'none' }, { toolChoice: 'none' }],
    ['no call and no tools', { tool_choice: 'none' }, { toolChoice: 'none', tools: [] }],
    [
      'one call by name',
      { tools: [weather], tool_choice: { type: 'function', function: { name: 'weather' } } },
      { toolChoice: { name: 'weather' } },
    ],
    ['one call at a time', { tools: [weather], parallel_tool_calls: false }, { parallelToolCalls: false }],
    ['as many tools as may be', { tools: tools(128) }, {}],
    ['plain text', { response_format: { type: 'text' } }, { format: { type: 'text' } }],
    ['any JSON', { response_format: { type: 'json_object' } }, { format: { type: 'json' } }],
    [
      'JSON of a schema',
      {
        response_format: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema: { type: 'object' } } },
      },
      { format: { type: 'schema', schema: { type: 'object' } } },
    ],
    ['probabilities', { logprobs: true }, { topLogprobs: 0 }],
    ['probabilities of others too', { logprobs: true, top_logprobs: 20 }, { topLogprobs: 20 }],
    ['a bias', { logit_bias: { 5: -100, 77: 2.5 } }, { logitBias: { 5: -100, 77: 2.5 } }],
    [
      'little thought',
      { reasoning_effort: 'low' },
      { templateArguments: { reasoning_effort: 'low', enable_thinking: true } },
    ],
    [
      'more thought than templates know',
      { reasoning_effort: 'xhigh' },
      { templateArguments: { reasoning_effort: 'high', enable_thinking: true } },
    ],
    ['no thought', { reasoning_effort: 'none' }, { templateArguments: { enable_thinking: false } }],
    [
      'what the template knows, which wins over the effort',
      { reasoning_effort: 'low', chat_template_kwargs: { enable_thinking: false, date: '26 Jul 2024' } },
      { templateArguments: { reasoning_effort: 'low', enable_thinking: false, date: '26 Jul 2024' } },
    ],
    [
      'what is so anyway',
      { store: false, modalities: ['text'], verbosity: 'medium', service_tier: 'auto', metadata: { a: 'b' } },
      {},
    ],
  ])('%s', (_what, fields, expected) => {
    expect(parseChat({ ...plain, ...fields })).toMatchObject(expected);
  });

  test('without probabilities none are promised', () => {
    expect(parseChat({ ...plain, logprobs: false, top_logprobs: 0 })).not.toHaveProperty('topLogprobs');
  });
});

describe('a conversation with calls', () => {
  const call = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } };

  test('keeps the calls, the thoughts before them and their results', () => {
    const messages = [
      { role: 'assistant', content: null, reasoning_content: 'Look it up.', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call_1', name: 'weather', content: [{ type: 'text', text: 'sunny' }] },
    ];
    expect(parseChat({ ...plain, messages }).messages).toEqual([
      {
        role: 'assistant',
        content: '',
        reasoning: 'Look it up.',
        toolCalls: [{ id: 'call_1', name: 'weather', arguments: '{"city":"Rome"}' }],
      },
      { role: 'tool', content: 'sunny', toolCallId: 'call_1', name: 'weather' },
    ]);
  });

  test("in the older API's words is the same with an id of ours", () => {
    const messages = [
      { role: 'user', content: 'Rome?', name: 'Ann' },
      { role: 'assistant', content: null, function_call: { name: 'weather', arguments: '{}' } },
      { role: 'function', name: 'weather', content: 'sunny' },
    ];
    expect(parseChat({ ...plain, messages }).messages).toEqual([
      { role: 'user', content: 'Rome?' },
      { role: 'assistant', content: '', toolCalls: [{ id: 'call_1', name: 'weather', arguments: '{}' }] },
      { role: 'tool', content: 'sunny', toolCallId: 'call_1', name: 'weather' },
    ]);
  });

  test('reads a refusal as what the assistant said', () => {
    const messages = [
      { role: 'assistant', content: null, refusal: 'No.' },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'Never.' }] },
    ];
    expect(parseChat({ ...plain, messages }).messages.map(({ content }) => content)).toEqual(['No.', 'Never.']);
  });
});

describe('what cannot be served is refused by the name of its field', () => {
  const named = (name: string) => ({ type: 'function', function: { name } });
  const schema = (inner: object) => ({ type: 'json_schema', json_schema: { name: 'x', schema: inner } });
  const said = (message: object) => ({ messages: [{ role: 'user', content: 'Hi' }, message] });

  const described = (name: string, description: string) => ({ type: 'function', function: { name, description } });
  const REFUSED: [object, string, string][] = [
    [{ tools: SECRET }, 'tools', "'tools': must be a list; got a string of 11 characters."],
    [{ tools: [SECRET] }, 'tools', "'tools.0': must be an object; got a string of 11 characters."],
    [{ tools: tools(500) }, 'tools', "'tools': must be at most 128 tools; got a list of 500."],
    [
      { tools: [{ type: 'custom', custom: { name: 'x' } }] },
      'tools',
      "'tools.0.type': only tools of the type function are supported; got a string of 6 characters.",
    ],
    [{ tools: [{ type: 'function' }] }, 'tools', "'tools.0.function': must be an object; got nothing."],
    [
      { tools: [named(SECRET)] },
      'tools',
      "'tools.0.function.name': must be 1 to 128 letters, digits, _ or -; got a string of 11 characters.",
    ],
    [
      { tools: [named('x'.repeat(129))] },
      'tools',
      "'tools.0.function.name': must be 1 to 128 letters, digits, _ or -; got a string of 129 characters.",
    ],
    [
      { tools: [named('a'), named('b'), named('a')] },
      'tools',
      "'tools.2.function.name': is the name of two tools; got a string of 1 characters.",
    ],
    [
      { tools: [{ type: 'function', function: { name: 'x', description: 'y'.repeat(32_769) } }] },
      'tools',
      "'tools.0.function.description': must be at most 32768 characters; got a string of 32769 characters.",
    ],
    [
      { tools: [{ type: 'function', function: { name: 'x', parameters: [SECRET] } }] },
      'tools',
      "'tools.0.function.parameters': must be a JSON Schema object; got a list of 1.",
    ],
    [
      { tools: [{ type: 'function', function: { name: 'x', parameters: { description: 'y'.repeat(65_536) } } }] },
      'tools',
      "'tools.0.function.parameters': must be at most 65536 bytes of JSON, not 65554; got an object.",
    ],
    [
      { tools: [{ type: 'function', function: { name: 'x', parameters: nested(100) } }] },
      'tools',
      "'tools.0.function.parameters': must be at most 64 levels deep; got an object.",
    ],
    [
      { tools: Array.from({ length: 40 }, (_, at) => described(`f${at}`, 'y'.repeat(32_000))) },
      'tools',
      "'tools': must be at most 1048576 bytes of JSON together, not 1283151; got a list of 40.",
    ],
    [
      { tools: [weather], tool_choice: SECRET },
      'tool_choice',
      "'tool_choice': must be 'none', 'auto', 'required' or one function; got a string of 11 characters.",
    ],
    [
      { tools: [weather], tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [] } } },
      'tool_choice',
      "'tool_choice.type': must be 'function': neither allowed_tools nor other kinds are supported; got a string of 13 characters.",
    ],
    [
      { tool_choice: 'required' },
      'tool_choice',
      "'tool_choice': cannot ask for a call without 'tools'; got a string of 8 characters.",
    ],
    [
      { tools: [weather], tool_choice: named(SECRET) },
      'tool_choice',
      "'tool_choice': must name a function of 'tools'; got an object.",
    ],
    [
      { parallel_tool_calls: SECRET },
      'parallel_tool_calls',
      "'parallel_tool_calls': must be true or false; got a string of 11 characters.",
    ],
    [
      { response_format: { type: SECRET } },
      'response_format',
      "'response_format.type': must be one of text, json_object, json_schema; got a string of 11 characters.",
    ],
    [
      { response_format: { type: 'json_schema' } },
      'response_format',
      "'response_format.json_schema': must be an object with a schema; got nothing.",
    ],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 'x', schema: SECRET } } },
      'response_format',
      "'response_format.json_schema.schema': must be a JSON Schema object; got a string of 11 characters.",
    ],
    [
      { response_format: schema(nested(65)) },
      'response_format',
      "'response_format.json_schema.schema': must be at most 64 levels deep; got an object.",
    ],
    [{ logprobs: 3 }, 'logprobs', "'logprobs': must be true or false; got a whole number."],
    [{ top_logprobs: 3 }, 'top_logprobs', "'top_logprobs': needs 'logprobs': true; got a whole number."],
    [
      { logprobs: true, top_logprobs: 21 },
      'top_logprobs',
      "'top_logprobs': must be a whole number from 0 to 20; got a whole number.",
    ],
    [{ logit_bias: { [SECRET]: 1 } }, 'logit_bias', "'logit_bias': must be an object of token ids; got an object."],
    [
      { logit_bias: Object.fromEntries(Array.from({ length: 1_025 }, (_, id) => [id, 1])) },
      'logit_bias',
      "'logit_bias': must be at most 1024 token ids; got an object.",
    ],
    [
      { reasoning_effort: SECRET },
      'reasoning_effort',
      "'reasoning_effort': must be one of none, minimal, low, medium, high, xhigh; got a string of 11 characters.",
    ],
    [
      { chat_template_kwargs: { x: '<|im_start|>' } },
      'chat_template_kwargs',
      "'chat_template_kwargs.x': must be letters, digits, spaces and _ . , : / -; got a string of 12 characters.",
    ],
    [
      { chat_template_kwargs: { x: [SECRET] } },
      'chat_template_kwargs',
      "'chat_template_kwargs.x': must be a boolean, a number, null or a short text; got a list of 1.",
    ],
    [
      { chat_template_kwargs: { messages: true } },
      'chat_template_kwargs',
      "'chat_template_kwargs.messages': must be left out: the request itself sets it; got a boolean.",
    ],
    [
      { chat_template_kwargs: { [SECRET]: 1 } },
      'chat_template_kwargs',
      "'chat_template_kwargs': must be an object of the names that the template knows; got an object.",
    ],
    [
      { chat_template_kwargs: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 1])) },
      'chat_template_kwargs',
      "'chat_template_kwargs': must be at most 16 names; got an object.",
    ],
    [{ stream: SECRET }, 'stream', "'stream': must be true or false; got a string of 11 characters."],
    [
      { stream_options: { include_usage: SECRET } },
      'stream_options',
      "'stream_options.include_usage': must be true or false; got a string of 11 characters.",
    ],
    [
      { stream_options: { include_obfuscation: true } },
      'stream_options',
      "'stream_options.include_obfuscation': must be false: nothing is added to hide lengths; got a boolean.",
    ],
    [{ store: true }, 'store', "'store': must be false: nothing is stored here; got a boolean."],
    [
      { modalities: ['text', 'audio'] },
      'modalities',
      "'modalities.1': only text is supported; got a string of 5 characters.",
    ],
    [{ audio: { voice: SECRET } }, 'audio', "'audio': must be left out: only text is supported; got an object."],
    [
      { prediction: { type: 'content', content: SECRET } },
      'prediction',
      "'prediction': must be left out: predicted outputs are not supported; got an object.",
    ],
    [
      { web_search_options: {} },
      'web_search_options',
      "'web_search_options': must be left out: there is no web search here; got an object.",
    ],
    [{ functions: [] }, 'functions', "'functions': must be left out: use 'tools'; got a list of 0."],
    [
      { function_call: 'auto' },
      'function_call',
      "'function_call': must be left out: use 'tool_choice'; got a string of 4 characters.",
    ],
    [{ verbosity: 'low' }, 'verbosity', "'verbosity': must be 'medium' or left out; got a string of 3 characters."],
    [
      { service_tier: 'priority' },
      'service_tier',
      "'service_tier': must be 'auto' or 'default'; got a string of 8 characters.",
    ],
    [
      { prompt_cache_key: 'x'.repeat(513) },
      'prompt_cache_key',
      "'prompt_cache_key': must be at most 512 characters; got a string of 513 characters.",
    ],
    [
      { max_output_tokens: -1 },
      'max_output_tokens',
      "'max_output_tokens': must be a whole number above 0; got a negative number.",
    ],
    [
      { messages: Array.from({ length: 4_097 }, () => ({ role: 'user', content: '' })) },
      'messages',
      "'messages': must be at most 4096 messages; got a list of 4097.",
    ],
    [
      said({ role: 'user', content: Array.from({ length: 1_025 }, () => ({ type: 'text', text: '' })) }),
      'messages',
      "'messages.1.content': must be at most 1024 parts; got a list of 1025.",
    ],
    [
      said({ role: 'user', content: [{ type: 'input_audio', input_audio: { data: SECRET } }] }),
      'messages',
      "'messages.1.content.0.type': only text parts are supported; got a string of 11 characters.",
    ],
    [
      said({ role: 'user', tool_calls: [{ id: 'x', function: { name: 'x', arguments: '' } }] }),
      'messages',
      "'messages.1.tool_calls': only an assistant makes calls; got a list of 1.",
    ],
    [
      said({ role: 'assistant', tool_calls: [{ id: 'x', type: 'custom', custom: { name: SECRET } }] }),
      'messages',
      "'messages.1.tool_calls.0.type': only calls of functions are supported; got a string of 6 characters.",
    ],
    [
      said({ role: 'assistant', tool_calls: [{ id: 'x', function: { name: 'x', arguments: {} } }] }),
      'messages',
      "'messages.1.tool_calls.0.function.arguments': must be a string; got an object.",
    ],
    [
      said({ role: 'assistant', tool_calls: [{ id: '', function: { name: 'x', arguments: '' } }] }),
      'messages',
      "'messages.1.tool_calls.0.id': must not be empty; got a string of 0 characters.",
    ],
    [
      said({ role: 'assistant', audio: { id: SECRET } }),
      'messages',
      "'messages.1.audio': must be left out: only text is supported; got an object.",
    ],
  ];

  test.each(REFUSED.map(([fields, param, message]) => [message, param, fields] as const))(
    '%s',
    (message, param, fields) => {
      const error = refusal({ ...plain, ...fields });
      expect(error.message).toBe(message);
      expect([error.code, error.status, error.param]).toEqual(['invalid_request', 400, param]);
    },
  );
});
