import { describe, expect, test } from 'vitest';
import { embeddingsReply } from '../../src/inference/embeddings.js';
import { countTokens, embeddings } from '../../src/inference/operation-dialects.js';
import { parseOperation, readResult, writeResult } from '../../src/inference/operations.js';
import type { JsonObject, OperationResult } from '../../src/inference/types.js';

const embed = (fields: JsonObject) =>
  parseOperation({ model: 'm', ...fields, darkbloom: { op: 'embed', owner: true } });

describe('the operation of a body', () => {
  test('is none without a name, and with one that is not known', () => {
    const chat = { model: 'm', messages: [{ role: 'user', content: 'Hi' }] };
    for (const darkbloom of [undefined, 'x', {}, { owner: true }, { op: 'paint' }]) {
      expect(parseOperation({ ...chat, darkbloom })).toBeUndefined();
    }
  });

  test('is to count a chat', () => {
    const body = { ...countTokens.lower({ model: 'm', system: 'Be', messages: [{ role: 'user', content: 'Hi' }] }) };
    expect(parseOperation({ ...body, darkbloom: { op: 'count', owner: false } })).toMatchObject({
      op: 'count',
      request: { model: 'm', owner: false, messages: [{ content: 'Be' }, { role: 'user', content: 'Hi' }] },
    });
  });

  test.each<[unknown, unknown]>([
    ['a', ['a']],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [[1, 2], [[1, 2]]],
    [
      [[1, 2], [3]],
      [[1, 2], [3]],
    ],
  ])('is to make vectors of %j', (input, inputs) => {
    expect(embed({ input })).toEqual({ op: 'embed', request: { model: 'm', inputs, owner: true } });
  });

  test('keeps the size of vectors that is asked for, and no other field of the client', () => {
    const body = embeddings.lower({ model: 'm', input: 'a', dimensions: 128, encoding_format: 'float', stop: 'x' });
    expect(Object.keys(body)).not.toContain('stop');
    expect(embed(body)).toMatchObject({ request: { dimensions: 128 } });
  });
});

test.each<[JsonObject, string, string]>([
  [{}, 'input', "'input': must be a text, a list of texts, or lists of tokens; got nothing."],
  [{ input: 5 }, 'input', "'input': must be a text, a list of texts, or lists of tokens; got a whole number."],
  [{ input: '' }, 'input', "'input': must not be empty; got a string of 0 characters."],
  [{ input: [] }, 'input', "'input': must not be empty; got a list of 0."],
  [{ input: ['a', ''] }, 'input', "'input.1': must not be empty; got a string of 0 characters."],
  [{ input: [[1], []] }, 'input', "'input.1': must not be empty; got a list of 0."],
  [{ input: [[-1]] }, 'input', "'input.0.0': must be 0 or more; got a negative number."],
  [{ input: ['a', 5] }, 'input', "'input': must not mix texts and tokens; got a list of 2."],
  [{ input: [true] }, 'input', "'input.0': must be a text, a token or a list of tokens; got a boolean."],
  [
    { input: 'a', encoding_format: 'hex' },
    'encoding_format',
    "'encoding_format': must be 'float' or 'base64'; got a string of 3 characters.",
  ],
  [{ input: 'a', dimensions: 0 }, 'dimensions', "'dimensions': must be a whole number above 0; got a whole number."],
])('an embedding request with %j is refused, naming the field', (fields, param, message) => {
  expect(() => embed(fields)).toThrow(expect.objectContaining({ code: 'invalid_request', param, message }) as Error);
});

test('an embedding request takes 2,048 texts and no more', () => {
  const input = Array.from({ length: 2_049 }, () => 'a');
  expect(embed({ input: input.slice(1) })?.request).toMatchObject({ inputs: input.slice(1) });
  expect(() => embed({ input })).toThrow("'input': must be at most 2048 long; got a list of 2049.");
});

const VECTORS = [Float32Array.of(0.25, -1), Float32Array.of(0.1, 3)];

describe('a result', () => {
  test.each<OperationResult>([
    { op: 'count', promptTokens: 13 },
    { op: 'embed', promptTokens: 2, vectors: VECTORS },
    { op: 'embed', promptTokens: 0, vectors: [] },
  ])('%j is read as it was written', (result) => {
    expect(writeResult(result)).toMatch(/^data: \{"object":"darkbloom.result","op":"/u);
    expect(readResult(writeResult(result))).toEqual(result);
  });

  test.each([
    'data: [DONE]',
    'data: {"object":"chat.completion.chunk"}',
    'data: {"object":"darkbloom.result"',
    'data: {"object":"darkbloom.result","op":"count"}',
    'data: {"object":"darkbloom.result","op":"count","prompt_tokens":-1}',
    'data: {"object":"darkbloom.result","op":"embed","prompt_tokens":1,"vectors":["%"]}',
  ])('is not %s', (event) => {
    expect(readResult(event)).toBeUndefined();
  });
});

test('vectors are shown as numbers, or as base64 of 32-bit floats', () => {
  const result = { op: 'embed' as const, promptTokens: 2, vectors: VECTORS };
  expect(embeddingsReply(result, 'tiny', {})).toEqual({
    object: 'list',
    data: [
      { object: 'embedding', index: 0, embedding: [0.25, -1] },
      { object: 'embedding', index: 1, embedding: [Math.fround(0.1), 3] },
    ],
    model: 'tiny',
    usage: { prompt_tokens: 2, total_tokens: 2 },
  });
  expect(embeddingsReply(result, 'tiny', { encoding_format: 'base64' })).toMatchObject({
    data: [{ embedding: 'AACAPgAAgL8=' }, { index: 1 }],
  });
});

describe('the reply of an operation', () => {
  const facts = { requestId: 'r1', created: 0, model: 'tiny', includeUsage: false, maxTokens: undefined };
  const done = (result?: OperationResult) => ({
    type: 'done' as const,
    finishReason: 'stop' as const,
    stopSequence: null,
    usage: { promptTokens: 0, completionTokens: 0 },
    result,
  });

  test('is told in the words of its API', () => {
    const counted = countTokens.reply(facts);
    counted.frames(done({ op: 'count', promptTokens: 13 }));
    expect(counted.body()).toEqual({ input_tokens: 13 });
    const embedded = embeddings.reply({ ...facts, asked: { encoding_format: 'base64' } });
    embedded.frames(done({ op: 'embed', promptTokens: 2, vectors: VECTORS }));
    expect(embedded.body()).toMatchObject({ model: 'tiny', data: [{ embedding: 'AACAPgAAgL8=' }, {}] });
  });

  test('is an error of the machine when it answered nothing, or something else', () => {
    const nothing = countTokens.reply(facts);
    nothing.frames(done());
    expect(() => nothing.body()).toThrow('The machine ended without a result.');
    const other = embeddings.reply(facts);
    other.frames(done({ op: 'count', promptTokens: 13 }));
    expect(() => other.body()).toThrow('The machine answered another question.');
  });
});
