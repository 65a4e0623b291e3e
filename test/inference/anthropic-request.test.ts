import { describe, expect, test } from 'vitest';
import { anthropicMessages } from '../../src/inference/anthropic.js';
import type { JsonObject } from '../../src/inference/types.js';

const user = { role: 'user', content: 'Hi' };
const NO_THINKING = { chat_template_kwargs: { enable_thinking: false } };
const lower = (fields: JsonObject) => anthropicMessages.lower({ model: 'm', messages: [user], ...fields });
/** What is lowered beside the model, the one message and the thinking that nobody asked for. */
const added = (fields: JsonObject): JsonObject => {
  const { model: _model, messages: _messages, chat_template_kwargs: _arguments, ...rest } = lower(fields);
  return rest;
};

const weather = { name: 'weather', description: 'Of a town', input_schema: { type: 'object', properties: {} } };
const calling = (...ids: string[]) => ({
  role: 'assistant',
  content: ids.map((id) => ({ type: 'tool_use', id, name: 'weather', input: { town: id } })),
});
const called = (...ids: string[]) => ({
  role: 'assistant',
  content: '',
  tool_calls: ids.map((id) => ({
    id,
    type: 'function',
    function: { name: 'weather', arguments: JSON.stringify({ town: id }) },
  })),
});
const result = (tool_use_id: string, fields: JsonObject = {}) => ({ type: 'tool_result', tool_use_id, ...fields });
const text = (words: string) => ({ type: 'text', text: words });
const answered = (tool_call_id: string, content: string) => ({ role: 'tool', tool_call_id, content });

describe('a conversation as chat', () => {
  test.each<[string, JsonObject[], JsonObject[]]>([
    ['a text', [user], [user]],
    [
      'blocks of one message are joined',
      [{ role: 'user', content: [text('a'), { ...text('b'), cache_control: { type: 'ephemeral' } }] }],
      [{ role: 'user', content: 'ab' }],
    ],
    [
      'neighbours of one role are one turn',
      [user, { role: 'user', content: [text('there')] }, { role: 'assistant', content: 'Yes?' }, user],
      [{ role: 'user', content: 'Hi\n\nthere' }, { role: 'assistant', content: 'Yes?' }, user],
    ],
    [
      'a system message between',
      [{ role: 'system', content: [text('Be')] }, user],
      [{ role: 'system', content: 'Be' }, user],
    ],
    ['nothing', [{ role: 'user', content: [] }], [{ role: 'user', content: '' }]],
    [
      'thoughts go beside the text, and those that were hidden go',
      [
        user,
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Hm.', signature: 'x' },
            { type: 'redacted_thinking', data: 'xyz' },
            text('Yes'),
          ],
        },
        user,
      ],
      [user, { role: 'assistant', content: 'Yes', reasoning_content: 'Hm.' }, user],
    ],
    [
      'a call and its result',
      [user, calling('a'), { role: 'user', content: [result('a', { content: 'warm' })] }],
      [user, called('a'), answered('a', 'warm')],
    ],
    [
      'several calls, their results in blocks, an error, nothing, and text around them, in order',
      [
        user,
        calling('a', 'b', 'c', 'd'),
        {
          role: 'user',
          content: [
            text('See '),
            text('here:'),
            result('b', { content: [text('cold'), text('wet')] }),
            result('a', { content: 'no town', is_error: true }),
            result('c'),
            result('d', { content: 'Error: no', is_error: true }),
            text('And?'),
          ],
        },
      ],
      [
        user,
        called('a', 'b', 'c', 'd'),
        { role: 'user', content: 'See here:' },
        answered('b', 'cold\nwet'),
        answered('a', 'Error: no town'),
        answered('c', ''),
        answered('d', 'Error: no'),
        { role: 'user', content: 'And?' },
      ],
    ],
    [
      'results in messages of their own',
      [user, calling('a', 'b'), { role: 'user', content: [result('a')] }, { role: 'user', content: [result('b')] }],
      [user, called('a', 'b'), answered('a', ''), answered('b', '')],
    ],
    [
      'a call without arguments',
      [
        user,
        { role: 'assistant', content: [text('Let me see.'), { type: 'tool_use', id: 'a', name: 'now' }] },
        { role: 'user', content: [result('a')] },
      ],
      [
        user,
        {
          role: 'assistant',
          content: 'Let me see.',
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'now', arguments: '{}' } }],
        },
        answered('a', ''),
      ],
    ],
  ])('%s', (_, messages, chat) => {
    expect(lower({ messages })).toEqual({ model: 'm', messages: chat, ...NO_THINKING });
  });

  test.each<[JsonObject, string]>([
    [{ system: 'Be short.' }, 'Be short.'],
    [{ system: [text('a'), { ...text('b'), cache_control: { type: 'ephemeral', ttl: '1h' } }] }, 'a\nb'],
  ])('begins with the system text of %j', (fields, content) => {
    expect(lower(fields)['messages']).toEqual([{ role: 'system', content }, user]);
  });

  test('has no system message for an empty system text', () => {
    for (const system of ['', [], null]) expect(lower({ system })['messages']).toEqual([user]);
  });
});

describe('a parameter', () => {
  test.each<[JsonObject, JsonObject]>([
    [
      { max_tokens: 5, temperature: 0, top_p: 1, top_k: 3, stream: true },
      { max_tokens: 5, temperature: 0, top_p: 1, top_k: 3, stream: true },
    ],
    [{ stop_sequences: ['a', 'b'] }, { stop: ['a', 'b'] }],
    [
      { tools: [weather, { type: 'custom', name: 'now', strict: true, cache_control: { type: 'ephemeral' } }] },
      {
        tools: [
          {
            type: 'function',
            function: { name: 'weather', description: 'Of a town', parameters: weather.input_schema },
          },
          {
            type: 'function',
            function: { name: 'now', description: '', parameters: { type: 'object' }, strict: true },
          },
        ],
      },
    ],
    [{ output_config: { effort: 'low' } }, { reasoning_effort: 'low' }],
    [{ output_config: { effort: 'max' } }, { reasoning_effort: 'high' }],
    [
      { output_config: { format: { type: 'json_schema', schema: { type: 'object' } } } },
      { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object' } } } },
    ],
    [{ darkbloom: { owner: true } }, { darkbloom: { owner: true } }],
    [{ metadata: { user_id: 'u' }, service_tier: 'auto', speed: 'standard', mcp_servers: [], container: null }, {}],
    [{ cache_control: { type: 'ephemeral' }, context_management: { edits: [] }, unheard_of: 1 }, {}],
    [{ system: null, stop_sequences: null, tools: null, tool_choice: null, thinking: null, max_tokens: null }, {}],
  ])('%j becomes %j', (fields, chat) => {
    expect(added(fields)).toEqual(chat);
  });

  test.each<[JsonObject, JsonObject]>([
    [{ type: 'auto' }, { tool_choice: 'auto' }],
    [{ type: 'any' }, { tool_choice: 'required' }],
    [{ type: 'none' }, { tool_choice: 'none' }],
    [{ type: 'tool', name: 'weather' }, { tool_choice: { type: 'function', function: { name: 'weather' } } }],
    [
      { type: 'auto', disable_parallel_tool_use: true },
      { tool_choice: 'auto', parallel_tool_calls: false },
    ],
    [{ type: 'any', disable_parallel_tool_use: false }, { tool_choice: 'required' }],
  ])('tool_choice %j becomes %j', (tool_choice, chat) => {
    expect(added({ tools: [weather], tool_choice })).toMatchObject(chat);
    expect(Object.keys(added({ tools: [weather], tool_choice }))).toEqual(['tools', ...Object.keys(chat)]);
  });

  test.each<[JsonObject | undefined, JsonObject]>([
    [undefined, { enable_thinking: false }],
    [{ type: 'disabled' }, { enable_thinking: false }],
    [{ type: 'adaptive' }, { enable_thinking: true }],
    [
      { type: 'enabled', budget_tokens: 2048, display: 'omitted' },
      { enable_thinking: true, thinking_budget: 2048 },
    ],
  ])('thinking %j sets %j in the template', (thinking, kwargs) => {
    expect(lower({ ...(thinking && { thinking }) })['chat_template_kwargs']).toEqual(kwargs);
  });
});

const turns = (...messages: JsonObject[]) => ({ messages: [user, ...messages] });
const saying = (...content: JsonObject[]) => ({ messages: [{ role: 'user', content }] });
const tools = (count: number) => Array.from({ length: count }, (_, index) => ({ name: `tool-${index}` }));

test.each<[JsonObject, string]>([
  [{ model: 5 }, "'model': must be a string; got a whole number."],
  [{ messages: [] }, "'messages': must not be empty; got a list of 0."],
  [
    { messages: [{ role: 'robot', content: 'x' }] },
    "'messages.0.role': must have the role 'user', 'assistant' or 'system'; got a string of 5 characters.",
  ],
  [
    { messages: [{ role: 'user', content: 5 }] },
    "'messages.0.content': must be a string or a list of blocks; got a whole number.",
  ],
  [
    saying({ type: 'image', source: {} }),
    "'messages.0.content.0.type': images are not supported; must be 'text' or 'tool_result'; got a string of 5 characters.",
  ],
  [
    saying({ type: 'document', source: {} }),
    "'messages.0.content.0.type': documents are not supported; must be 'text' or 'tool_result'; got a string of 8 characters.",
  ],
  [
    saying({ type: 'hologram' }),
    "'messages.0.content.0.type': must be 'text' or 'tool_result'; got a string of 8 characters.",
  ],
  [saying({ type: 'text', text: 7 }), "'messages.0.content.0.text': must be a string; got a whole number."],
  [saying(result('')), "'messages.0.content.0.tool_use_id': must not be empty; got a string of 0 characters."],
  [
    turns(calling('a'), { role: 'user', content: [result('a', { content: [{ type: 'image' }] })] }),
    "'messages.2.content.0.content.0.type': images are not supported; must be 'text'; got a string of 5 characters.",
  ],
  [
    turns({ role: 'assistant', content: [{ type: 'server_tool_use', id: 'a', name: 'web_search' }] }, user),
    "'messages.1.content.0.type': Anthropic's own tools are not supported; must be 'text', 'thinking', " +
      "'redacted_thinking' or 'tool_use'; got a string of 15 characters.",
  ],
  [
    turns({ role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'x', input: [] }] }, user),
    "'messages.1.content.0.input': must be an object; got a list of 0.",
  ],
  [
    saying(text('a'), result('b')),
    "'messages.0.content.1.tool_use_id': must be the id of a call in the turn before, answered once.",
  ],
  [
    turns(calling('a'), { role: 'user', content: [result('a'), result('a')] }),
    "'messages.2.content.1.tool_use_id': must be the id of a call in the turn before, answered once.",
  ],
  [
    turns(calling('a', 'b'), { role: 'user', content: [result('b')] }),
    "'messages.2': must answer each call of the turn before with a tool_result; 1 missing.",
  ],
  [turns(calling('a', 'a'), user), "'messages.1.content.1.id': another call of this turn has the same id."],
  [
    turns({ role: 'assistant', content: 'Once' }),
    "'messages.1': must not be the assistant's at the end: an answer cannot be begun for the model.",
  ],
  [{ system: 5 }, "'system': must be a string or a list of text blocks; got a whole number."],
  [{ system: [{ type: 'image' }] }, "'system.0.type': must be text; got a string of 5 characters."],
  [{ max_tokens: 0 }, "'max_tokens': must be a whole number above 0; got a whole number."],
  [{ max_tokens: 1.5 }, "'max_tokens': must be a whole number above 0; got a number with a fraction."],
  [{ temperature: 1.1 }, "'temperature': must be a number from 0 to 1; got a number with a fraction."],
  [{ temperature: '1' }, "'temperature': must be a number from 0 to 1; got a string of 1 characters."],
  [{ top_p: -1 }, "'top_p': must be a number from 0 to 1; got a negative number."],
  [{ top_k: -1 }, "'top_k': must be 0 or more; got a negative number."],
  [{ stream: 'yes' }, "'stream': must be true or false; got a string of 3 characters."],
  [{ stop_sequences: [''] }, "'stop_sequences.0': must not be empty; got a string of 0 characters."],
  [
    { stop_sequences: ['x'.repeat(257)] },
    "'stop_sequences.0': must be at most 256 characters; got a string of 257 characters.",
  ],
  [{ stop_sequences: 'x' }, "'stop_sequences': must be a list; got a string of 1 characters."],
  [{ stop_sequences: [...'abcde'] }, "'stop_sequences': must be at most 4 strings; got a list of 5."],
  [{ tools: {} }, "'tools': must be a list; got an object."],
  [{ tools: tools(500) }, "'tools': must be at most 128 tools; got a list of 500."],
  [
    { tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
    "'tools.0.type': must be 'custom' or absent: Anthropic's own tools are not here; got a string of 19 characters.",
  ],
  [
    { tools: [{ ...weather, name: 'of a town' }] },
    "'tools.0.name': must be 1 to 128 letters, digits, _ or -; got a string of 9 characters.",
  ],
  [{ tools: [weather, weather] }, "'tools.1.name': another tool has the same name."],
  [
    { tools: [{ ...weather, input_schema: { type: 'array' } }] },
    "'tools.0.input_schema.type': must be 'object'; got a string of 5 characters.",
  ],
  [
    { tools: [{ ...weather, defer_loading: true }] },
    "'tools.0.defer_loading': tools cannot be loaded later; got a boolean.",
  ],
  [
    { tools: [weather], tool_choice: { type: 'all' } },
    "'tool_choice.type': must have the type 'auto', 'any', 'tool' or 'none'; got a string of 3 characters.",
  ],
  [{ tools: [weather], tool_choice: { type: 'tool', name: 'now' } }, "'tool_choice.name': no tool has this name."],
  [{ tool_choice: { type: 'any' } }, "'tool_choice': there are no tools to choose from."],
  [{ thinking: { type: 'enabled' } }, "'thinking.budget_tokens': must be a whole number; got nothing."],
  [
    { thinking: { type: 'enabled', budget_tokens: 5 } },
    "'thinking.budget_tokens': must be 1024 or more; got a whole number.",
  ],
  [
    { max_tokens: 1024, thinking: { type: 'enabled', budget_tokens: 1024 } },
    "'thinking.budget_tokens': must be less than max_tokens, which is 1024.",
  ],
  [
    { thinking: { type: 'much' } },
    "'thinking.type': must have the type 'enabled', 'adaptive' or 'disabled'; got a string of 4 characters.",
  ],
  [{ metadata: { user_id: 5 } }, "'metadata.user_id': must be a string; got a whole number."],
  [{ service_tier: 'gold' }, "'service_tier': must be 'auto' or 'standard_only'; got a string of 4 characters."],
  [{ speed: 'fast' }, "'speed': must be 'standard'; got a string of 4 characters."],
  [{ container: 'c' }, "'container': there are no containers here; got a string of 1 characters."],
  [{ mcp_servers: [{}] }, "'mcp_servers': MCP servers are not called from here; got a list of 1."],
  [{ inference_geo: 'eu' }, "'inference_geo': places cannot be chosen here; got a string of 2 characters."],
  [
    { output_config: { effort: 'huge' } },
    "'output_config.effort': must be 'low', 'medium', 'high', 'xhigh' or 'max'; got a string of 4 characters.",
  ],
  [
    { output_config: { format: { type: 'xml' } } },
    "'output_config.format.type': must be 'json_schema'; got a string of 3 characters.",
  ],
])('%j is refused, naming the field, the limit and the kind', (fields, message) => {
  const param = Object.keys(fields).at(-1);
  expect(() => lower(fields)).toThrow(expect.objectContaining({ code: 'invalid_request', param, message }) as Error);
});
