import { expect, test } from 'vitest';
import { measureModel, rateOfAll, streamsFor, type Answered } from '../../src/cli/model-bench.js';

test.each([
  [1, [1]],
  [2, [1, 2]],
  [3, [1, 2, 3]],
  [4, [1, 2, 4]],
  [16, [1, 2, 4, 16]],
])('%d slots are measured with %j streams', (slots, streams) => {
  expect(streamsFor(slots)).toEqual(streams);
});

const answered = (completionTokens: number, writingMs: number): Answered => ({
  ttftMs: 100,
  writingMs,
  promptTokens: 50,
  completionTokens,
});

test('streams side by side add up; the first token belongs to the reading', () => {
  expect(rateOfAll([answered(11, 1_000), answered(21, 1_000)])).toBe(30);
});

test('an answer of one token says nothing of the speed', () => {
  expect(rateOfAll([answered(11, 1_000), answered(1, 0)])).toBeNull();
});

test('a slow model is asked for less, and everything fits its context', async () => {
  const asked: { words: number; maxTokens: number }[] = [];
  const msPerToken = 1_000;
  const ask = async (prompt: string, maxTokens: number): Promise<Answered> => {
    const words = prompt.split(' ').length;
    asked.push({ words, maxTokens });
    return {
      ttftMs: words * msPerToken,
      writingMs: (maxTokens - 1) * msPerToken,
      promptTokens: words * 2,
      completionTokens: maxTokens,
    };
  };
  const shares: number[] = [];
  const figures = await measureModel(ask, { slots: 2, contextTokens: 512 }, (share) => shares.push(share));
  expect(figures).toMatchObject({
    prefill_tps: 2,
    decode: [
      { streams: 1, tokens_per_second: 1 },
      { streams: 2, tokens_per_second: 2 },
    ],
  });
  expect(Math.max(...asked.map(({ words }) => words))).toBe(48);
  expect(asked.slice(-3).map(({ maxTokens }) => maxTokens)).toEqual([8, 8, 8]);
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
  expect(shares.at(-1)).toBe(1);
});
