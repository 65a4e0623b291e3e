import { expect, test } from 'vitest';
import { MeasuredPace } from '../../src/engine/measured-pace.js';

const answer = { promptTokens: 0, promptMs: 0 };

test.each([1, 2, 8])(
  'an answer of %s tokens tells no speed of writing, but how long answers are',
  (completionTokens) => {
    const pace = new MeasuredPace();
    pace.learn({ ...answer, completionTokens, outputMs: 0.05 });
    expect(pace).toMatchObject({ tokensPerS: undefined, answerTokens: completionTokens });
  },
);

test('the first token is not in the time of an answer, so it does not count', () => {
  const pace = new MeasuredPace();
  pace.learn({ ...answer, completionTokens: 41, outputMs: 2_000 });
  expect(pace.tokensPerS).toBe(20);
});

test('short answers change nothing of a speed that is known; longer ones move it by and by', () => {
  const pace = new MeasuredPace();
  pace.learn({ ...answer, completionTokens: 101, outputMs: 5_000 });
  pace.learn({ ...answer, completionTokens: 1, outputMs: 0.02 });
  expect(pace.tokensPerS).toBe(20);
  pace.learn({ ...answer, completionTokens: 101, outputMs: 2_500 });
  expect(pace.tokensPerS).toBe(26);
});

test('a prompt of which nothing was read tells no speed of reading', () => {
  const pace = new MeasuredPace();
  pace.learn({ promptTokens: 0, promptMs: 3, completionTokens: 0, outputMs: 0 });
  expect(pace).toMatchObject({ promptTokensPerS: undefined, answerTokens: undefined });
  pace.learn({ promptTokens: 500, promptMs: 250, completionTokens: 0, outputMs: 0 });
  expect(pace.promptTokensPerS).toBe(2_000);
});
