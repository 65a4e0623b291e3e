import { expect, test } from 'vitest';
import { readChunk, textIn } from '../../src/inference/chunk-reader.js';
import type { ContentEvent } from '../../src/inference/types.js';

const chunk = (choices: unknown) => `data: ${JSON.stringify({ id: 'x', choices })}`;

test.each([
  ['the role', chunk([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }]), '', undefined],
  ['a piece of text', chunk([{ index: 0, delta: { content: 'Hi' }, finish_reason: null }]), 'Hi', undefined],
  ['a piece without the key of the end', chunk([{ delta: { content: 'Hi' } }]), 'Hi', undefined],
  ['the end', chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]), '', 'stop'],
  ['the usage', chunk([]), '', undefined],
  ['a delta of another kind', chunk([{ delta: { content: null, tool_calls: [] } }]), '', undefined],
  ['a line with what ends an event', `${chunk([{ delta: { content: 'Hi' } }])}\n\n`, 'Hi', undefined],
  ['an object without choices', 'data: {"error":{"message":"x"}}', '', undefined],
  ['choices of another shape', chunk([{ delta: 5 }]), '', undefined],
])('%s is read from its event', (_, event, text, finishReason) => {
  const content = readChunk(event);
  expect(content?.finishReason).toBe(finishReason);
  expect(textIn(content?.events ?? [])).toBe(text);
});

test.each<[string, unknown, ContentEvent[]]>([
  ['a piece of reasoning', { reasoning_content: 'Hm' }, [{ type: 'reasoning', text: 'Hm' }]],
  ['a piece of reasoning by its other name', { reasoning: 'Hm' }, [{ type: 'reasoning', text: 'Hm' }]],
  [
    'the beginning of a call',
    { tool_calls: [{ index: 1, id: 'call_1', type: 'function', function: { name: 'find', arguments: '' } }] },
    [{ type: 'tool_call', index: 1, id: 'call_1', name: 'find' }],
  ],
  [
    'a whole call at once',
    { tool_calls: [{ id: 'call_1', function: { name: 'find', arguments: '{}' } }] },
    [
      { type: 'tool_call', index: 0, id: 'call_1', name: 'find' },
      { type: 'tool_arguments', index: 0, text: '{}' },
    ],
  ],
  [
    'a piece of arguments',
    { tool_calls: [{ index: 1, function: { arguments: '{"a' } }] },
    [{ type: 'tool_arguments', index: 1, text: '{"a' }],
  ],
])('%s is read from its delta', (_, delta, events) => {
  expect(readChunk(chunk([{ index: 0, delta, finish_reason: null }]))?.events).toEqual(events);
});

test('probabilities come with the text', () => {
  const [hi, he] = [
    { token: 'Hi', logprob: -0.1, bytes: [72, 105] },
    { token: 'He', logprob: -2.5, bytes: [72, 101] },
  ];
  const choice = { delta: { content: 'Hi' }, logprobs: { content: [{ ...hi, top_logprobs: [hi, he] }] } };
  expect(readChunk(chunk([choice]))?.events).toEqual([
    { type: 'text', text: 'Hi', logprobs: [{ ...hi, top: [hi, he] }] },
  ]);
});

test.each([
  ['the end of a stream', 'data: [DONE]'],
  ['a comment', ': keep-alive'],
  ['nothing', ''],
  ['JSON that is cut short', 'data: {"choices":['],
  ['an event without its beginning', '{"choices":[]}'],
])('%s is no chunk', (_, event) => {
  expect(readChunk(event)).toBeUndefined();
});
