import { expect, test } from 'vitest';
import { readChunk } from '../../src/inference/chunk-reader.js';

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
  expect(readChunk(event)).toEqual({ text, finishReason });
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
