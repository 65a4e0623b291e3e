import { describe, expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import type { ReplyFacts } from '../../src/inference/dialect.js';
import { openAiChat, openAiResponses } from '../../src/inference/openai.js';
import { parseChat } from '../../src/inference/openai-chat.js';
import type { ChatEvent, ChatRequest, JsonObject } from '../../src/inference/types.js';

const SECRET = 'open sesame';
const plain = { model: 'tiny', input: 'Hi' };
const weather = { type: 'function', name: 'weather', description: 'of a city', parameters: { type: 'object' } };

function lowered(fields: object): ChatRequest {
  return parseChat(openAiResponses.lower({ ...plain, ...fields }));
}

function refusal(body: JsonObject): DarkbloomError {
  try {
    openAiResponses.lower(body);
  } catch (error) {
    if (error instanceof DarkbloomError) return error;
    throw error;
  }
  throw new Error('The body was taken.');
}

describe('the input becomes messages', () => {
  test.each<[string, object, JsonObject[]]>([
    ['a string', { input: 'Hi' }, [{ role: 'user', content: 'Hi' }]],
    [
      'with instructions before it',
      { instructions: 'Be brief.' },
      [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Hi' },
      ],
    ],
    ['empty instructions are none', { instructions: '' }, [{ role: 'user', content: 'Hi' }]],
    [
      'messages with and without a type, parts in lines',
      {
        input: [
          { role: 'developer', content: 'Be brief.' },
          {
            type: 'message',
            role: 'user',
            content: [
              { type: 'input_text', text: 'a' },
              { type: 'input_text', text: 'b' },
            ],
          },
          {
            type: 'message',
            id: 'msg_1',
            status: 'completed',
            role: 'assistant',
            content: [{ type: 'output_text', text: 'c', annotations: [] }],
          },
        ],
      },
      [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'a\nb' },
        { role: 'assistant', content: 'c' },
      ],
    ],
    [
      'neighbouring calls are one message, and go with the text before them; old thoughts are left out',
      {
        input: [
          { role: 'user', content: 'Rome and Oslo?' },
          { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: SECRET }] },
          { role: 'assistant', content: 'I look.' },
          { type: 'function_call', call_id: 'c1', id: 'fc_1', name: 'weather', arguments: '{"city":"Rome"}' },
          { type: 'function_call', id: 'fc_2', name: 'weather', arguments: '{"city":"Oslo"}' },
          { type: 'function_call_output', call_id: 'c1', output: 'sunny' },
          { type: 'function_call_output', call_id: 'fc_2', output: [{ type: 'input_text', text: 'snow' }] },
          { type: 'function_call', call_id: 'c3', name: 'now', arguments: '' },
        ],
      },
      [
        { role: 'user', content: 'Rome and Oslo?' },
        {
          role: 'assistant',
          content: 'I look.',
          toolCalls: [
            { id: 'c1', name: 'weather', arguments: '{"city":"Rome"}' },
            { id: 'fc_2', name: 'weather', arguments: '{"city":"Oslo"}' },
          ],
        },
        { role: 'tool', content: 'sunny', toolCallId: 'c1' },
        { role: 'tool', content: 'snow', toolCallId: 'fc_2' },
        { role: 'assistant', content: '', toolCalls: [{ id: 'c3', name: 'now', arguments: '' }] },
      ],
    ],
  ])('%s', (_what, fields, messages) => {
    expect(lowered(fields).messages).toEqual(messages);
  });
});

test.each<[object, Partial<ChatRequest>]>([
  [{ max_output_tokens: 7 }, { maxTokens: 7 }],
  [{ temperature: 0, top_p: 0.5 }, { sampling: expect.objectContaining({ temperature: 0, topP: 0.5 }) as never }],
  [
    { tools: [weather], tool_choice: 'required', parallel_tool_calls: false },
    {
      tools: [{ name: 'weather', description: 'of a city', parameters: { type: 'object' } }],
      toolChoice: 'required',
      parallelToolCalls: false,
    },
  ],
  [{ tools: [weather], tool_choice: { type: 'function', name: 'weather' } }, { toolChoice: { name: 'weather' } }],
  [{ text: { format: { type: 'json_object' } } }, { format: { type: 'json' } }],
  [
    { text: { format: { type: 'json_schema', name: 'x', strict: true, schema: { type: 'object' } } } },
    { format: { type: 'schema', schema: { type: 'object' } } },
  ],
  [{ reasoning: { effort: 'high' } }, { templateArguments: { reasoning_effort: 'high', enable_thinking: true } }],
  [{ top_logprobs: 3 }, { topLogprobs: 3 }],
  [{ include: ['message.output_text.logprobs'] }, { topLogprobs: 0 }],
  [
    { store: true, include: ['reasoning.encrypted_content'], previous_response_id: null, background: false, user: 'x' },
    {},
  ],
])('%j', (fields, expected) => {
  expect(lowered(fields)).toMatchObject(expected);
});

describe('what cannot be served is refused by the name of its field', () => {
  const items = (item: unknown) => ({ input: [{ role: 'user', content: 'Hi' }, item] });
  const REFUSED: [object, string, string][] = [
    [{ input: 5 }, 'input', "'input': must be a string or a list of items; got a whole number."],
    [{ input: '' }, 'input', "'input': must not be empty; got a string of 0 characters."],
    [{ input: [] }, 'input', "'input': must not be empty; got a list of 0."],
    [{ input: [{ type: 'reasoning' }] }, 'input', "'input': must hold a message or a call; got a list of 1."],
    [
      items(SECRET),
      'input',
      "'input.1': must be message, function_call, function_call_output or reasoning; got a string of 11 characters.",
    ],
    [
      items({ type: 'item_reference', id: SECRET }),
      'input',
      "'input.1.type': must be message, function_call, function_call_output or reasoning; got a string of 14 characters.",
    ],
    [
      items({ role: 'user', content: [{ type: 'input_image', image_url: SECRET }] }),
      'input',
      "'input.1.content.0.type': only text parts are supported; got a string of 11 characters.",
    ],
    [
      items({ role: 'tool', content: SECRET }),
      'input',
      "'input.1.role': must be one of system, developer, user, assistant; got a string of 4 characters.",
    ],
    [
      { input: Array.from({ length: 4_097 }, () => ({ role: 'user', content: '' })) },
      'input',
      "'input': must be at most 4096 items; got a list of 4097.",
    ],
    [{ instructions: [SECRET] }, 'instructions', "'instructions': must be a string; got a list of 1."],
    [
      { max_output_tokens: 0 },
      'max_output_tokens',
      "'max_output_tokens': must be a whole number above 0; got a whole number.",
    ],
    [{ temperature: 3 }, 'temperature', "'temperature': must be a number from 0 to 2; got a whole number."],
    [{ top_p: -1 }, 'top_p', "'top_p': must be a number from 0 to 1; got a negative number."],
    [{ top_logprobs: 21 }, 'top_logprobs', "'top_logprobs': must be a whole number from 0 to 20; got a whole number."],
    [
      { include: ['file_search_call.results'] },
      'include',
      "'include.0': must be one of message.output_text.logprobs, reasoning.encrypted_content; got a string of 24 characters.",
    ],
    [
      { tools: [{ type: 'web_search' }] },
      'tools',
      "'tools.0.type': only tools of the type function are supported; got a string of 10 characters.",
    ],
    [{ tools: [weather, weather] }, 'tools', "'tools.1.name': is the name of two tools; got a string of 7 characters."],
    [
      { tools: Array.from({ length: 500 }, (_, index) => ({ type: 'function', name: `t${index}` })) },
      'tools',
      "'tools': must be at most 128 tools; got a list of 500.",
    ],
    [
      { tools: [weather], tool_choice: { type: 'function', name: SECRET } },
      'tool_choice',
      "'tool_choice': must name a function of 'tools'; got an object.",
    ],
    [
      { tools: [weather], tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [] } },
      'tool_choice',
      "'tool_choice.type': must be 'function': neither allowed_tools nor other kinds are supported; got a string of 13 characters.",
    ],
    [
      { text: { verbosity: 'high' } },
      'text',
      "'text.verbosity': must be 'medium' or left out; got a string of 4 characters.",
    ],
    [
      { text: { format: { type: 'json_schema', name: 'x', schema: SECRET } } },
      'text',
      "'text.format.schema': must be a JSON Schema object; got a string of 11 characters.",
    ],
    [
      { text: { format: { type: SECRET } } },
      'text',
      "'text.format.type': must be one of text, json_object, json_schema; got a string of 11 characters.",
    ],
    [
      { reasoning: { effort: SECRET } },
      'reasoning',
      "'reasoning.effort': must be one of none, minimal, low, medium, high, xhigh; got a string of 11 characters.",
    ],
    [
      { previous_response_id: 'resp_1' },
      'previous_response_id',
      "'previous_response_id': must be left out: nothing is kept here; send the whole conversation; got a string of 6 characters.",
    ],
    [
      { conversation: { id: SECRET } },
      'conversation',
      "'conversation': must be left out: nothing is kept here; send the whole conversation; got an object.",
    ],
    [{ prompt: { id: SECRET } }, 'prompt', "'prompt': must be left out: no prompts are kept here; got an object."],
    [{ background: true }, 'background', "'background': must be false: nothing is answered later; got a boolean."],
    [
      { truncation: 'auto' },
      'truncation',
      "'truncation': must be 'disabled': nothing is cut from a conversation; got a string of 4 characters.",
    ],
    [
      { max_tool_calls: 3 },
      'max_tool_calls',
      "'max_tool_calls': must be left out: there are no tools of the server; got a whole number.",
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

test('a body with input and without messages is one of this API on the chat path too', () => {
  expect(openAiChat.of?.(plain)).toBe(openAiResponses);
  expect(openAiChat.of?.({ ...plain, messages: [] })).toBe(openAiResponses);
  expect(openAiChat.of?.({ ...plain, messages: [{ role: 'user', content: 'Hi' }] })).toBe(openAiChat);
  expect(openAiChat.of?.({ model: 'tiny' })).toBe(openAiChat);
});

test('a prompt that is too long is named by the field it came in', () => {
  const error = new DarkbloomError('context_length_exceeded', '9 of 8', { param: 'messages' });
  expect(openAiResponses.errorBody(error, 'r')).toMatchObject({ error: { param: 'input' } });
});

const facts: ReplyFacts = {
  requestId: '12-34',
  created: 1782000000,
  model: 'tiny',
  includeUsage: false,
  maxTokens: undefined,
};
const USAGE = { promptTokens: 11, cachedTokens: 8, completionTokens: 7, reasoningTokens: 2 };
const done = (finishReason: 'stop' | 'length' | 'tool_calls' = 'stop'): ChatEvent => ({
  type: 'done',
  finishReason,
  stopSequence: null,
  usage: USAGE,
});
const STARTED: ChatEvent = { type: 'started', promptTokens: 11 };
const text = (content: string): ChatEvent => ({ type: 'text', text: content });
const story: ChatEvent[] = [
  { type: 'accepted' },
  STARTED,
  { type: 'reasoning', text: 'Look it' },
  { type: 'reasoning', text: ' up.' },
  text('I '),
  text('look.'),
  { type: 'tool_call', index: 0, id: 'call_a', name: 'weather' },
  { type: 'tool_arguments', index: 0, text: '{"city":' },
  { type: 'tool_arguments', index: 0, text: '"Rome"}' },
  { type: 'tool_call', index: 1, id: 'call_b', name: 'now' },
  done('tool_calls'),
];

function written(events: readonly ChatEvent[], changes: Partial<ReplyFacts> = {}) {
  const reply = openAiResponses.reply({ ...facts, ...changes });
  const frames = events.map((event) => reply.frames(event)).join('');
  const stream = frames
    .split('\n\n')
    .slice(0, -1)
    .map((frame) => {
      const [event = '', data = ''] = frame.split('\n');
      return { event: event.replace('event: ', ''), data: JSON.parse(data.replace('data: ', '')) as JsonObject };
    });
  return { reply, frames, stream };
}

const REASONING = {
  id: 'rs_1234_0',
  type: 'reasoning',
  status: 'completed',
  summary: [{ type: 'summary_text', text: 'Look it up.' }],
};
const MESSAGE = {
  id: 'msg_1234_1',
  type: 'message',
  status: 'completed',
  role: 'assistant',
  content: [{ type: 'output_text', text: 'I look.', annotations: [], logprobs: [] }],
};
const CALLS = [
  {
    id: 'fc_1234_2',
    type: 'function_call',
    status: 'completed',
    call_id: 'call_a',
    name: 'weather',
    arguments: '{"city":"Rome"}',
  },
  { id: 'fc_1234_3', type: 'function_call', status: 'completed', call_id: 'call_b', name: 'now', arguments: '' },
];
const WHOLE = {
  id: 'resp_1234',
  object: 'response',
  created_at: 1782000000,
  status: 'completed',
  error: null,
  incomplete_details: null,
  instructions: null,
  max_output_tokens: null,
  model: 'tiny',
  output: [REASONING, MESSAGE, ...CALLS],
  parallel_tool_calls: true,
  previous_response_id: null,
  store: false,
  temperature: null,
  text: { format: { type: 'text' } },
  tool_choice: 'auto',
  tools: [],
  top_p: null,
  metadata: {},
  usage: {
    input_tokens: 11,
    input_tokens_details: { cached_tokens: 8 },
    output_tokens: 7,
    output_tokens_details: { reasoning_tokens: 2 },
    total_tokens: 18,
  },
};

describe('a streamed response', () => {
  test('is these events in this order, each numbered and named twice', () => {
    const { stream } = written(story);
    expect(stream.map(({ event }) => event)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.reasoning_summary_part.added',
      'response.reasoning_summary_text.delta',
      'response.reasoning_summary_text.delta',
      'response.reasoning_summary_text.done',
      'response.reasoning_summary_part.done',
      'response.output_item.done',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.output_item.added',
      'response.function_call_arguments.delta',
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.output_item.added',
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.completed',
    ]);
    for (const [index, { event, data }] of stream.entries()) {
      expect(data).toMatchObject({ type: event, sequence_number: index });
    }
  });

  test('tells where each piece belongs', () => {
    const { stream } = written(story);
    const of = (event: string) => stream.filter((each) => each.event === event).map(({ data }) => data);
    expect(of('response.output_text.delta')[1]).toEqual({
      type: 'response.output_text.delta',
      sequence_number: 12,
      item_id: 'msg_1234_1',
      output_index: 1,
      content_index: 0,
      delta: 'look.',
      logprobs: [],
    });
    expect(of('response.output_item.added').map(({ output_index, item }) => [output_index, item])).toEqual([
      [0, { ...REASONING, status: 'in_progress', summary: [] }],
      [1, { ...MESSAGE, status: 'in_progress', content: [] }],
      [2, { ...CALLS[0], status: 'in_progress', arguments: '' }],
      [3, { ...CALLS[1], status: 'in_progress' }],
    ]);
    expect(of('response.output_item.done').map(({ item }) => item)).toEqual(WHOLE.output);
    expect(of('response.content_part.added')[0]?.['part']).toEqual({ ...MESSAGE.content[0], text: '' });
    expect(of('response.content_part.done')[0]?.['part']).toEqual(MESSAGE.content[0]);
    expect(of('response.function_call_arguments.done')[0]).toMatchObject({ arguments: '{"city":"Rome"}' });
    const begun = { ...WHOLE, status: 'in_progress', output: [], usage: null };
    expect(of('response.created')[0]?.['response']).toEqual(begun);
    expect(of('response.in_progress')[0]?.['response']).toEqual(begun);
    expect(of('response.completed')[0]?.['response']).toEqual(WHOLE);
  });

  test('has no [DONE] and no chunk of usage', () => {
    expect(written(story, { includeUsage: true }).frames).toBe(written(story).frames);
    expect(written(story).frames).not.toContain('[DONE]');
  });

  test('without any content has one empty message', () => {
    const { stream } = written([STARTED, done()]);
    expect(stream.map(({ event }) => event)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
  });

  test('that was cut off at the bound is incomplete, and so is its last item', () => {
    const { stream, reply } = written([STARTED, text('Hel'), done('length')]);
    expect(stream.at(-1)).toMatchObject({
      event: 'response.incomplete',
      data: { response: { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } } },
    });
    expect(reply.body()).toMatchObject({ status: 'incomplete', output: [{ status: 'incomplete' }] });
  });

  test('tells probabilities where they were asked for', () => {
    const token = { token: 'Hi', logprob: -0.5, bytes: [72, 105] };
    const { stream, reply } = written([
      STARTED,
      { type: 'text', text: 'Hi', logprobs: [{ ...token, top: [token] }] },
      done(),
    ]);
    const short = { token: 'Hi', logprob: -0.5 };
    expect(stream.find(({ event }) => event === 'response.output_text.delta')?.data['logprobs']).toEqual([
      { ...short, top_logprobs: [short] },
    ]);
    expect(reply.body()).toMatchObject({
      output: [{ content: [{ logprobs: [{ ...token, top_logprobs: [token] }] }] }],
    });
  });

  test('that breaks ends with an error event that goes on counting', () => {
    const { reply } = written([STARTED, text('Hel')]);
    expect(reply.failure(new DarkbloomError('runner_died', 'It ended.'))).toBe(
      'event: error\ndata: {"type":"error","sequence_number":5,' +
        '"error":{"type":"provider_error","code":"runner_died","message":"It ended.","param":null}}\n\n',
    );
  });

  test('shows nothing of a cancellation', () => {
    const usage = { promptTokens: 11, completionTokens: 0 };
    expect(written([{ type: 'accepted' }, { type: 'cancelled', usage }]).frames).toBe('');
  });
});

describe('a whole response', () => {
  test('is this', () => {
    expect(written(story).reply.body()).toEqual(WHOLE);
  });

  test('repeats what was asked for', () => {
    const asked = {
      instructions: 'Be brief.',
      max_output_tokens: 9,
      temperature: 0,
      top_p: 0.5,
      tools: [weather],
      tool_choice: 'required',
      parallel_tool_calls: false,
      metadata: { a: 'b' },
      text: { format: { type: 'json_object' } },
    };
    expect(written(story, { asked: { ...plain, ...asked } }).reply.body()).toMatchObject(asked);
  });

  test('of a model that only thought has an empty message all the same', () => {
    const { reply } = written([STARTED, { type: 'reasoning', text: 'Hm' }, done('length')]);
    expect(reply.body()).toMatchObject({
      output: [{ type: 'reasoning' }, { type: 'message', content: [{ text: '' }] }],
    });
  });

  test('does not exist before the answer is complete', () => {
    expect(() => written([STARTED, text('half')]).reply.body()).toThrow(TypeError);
  });
});
