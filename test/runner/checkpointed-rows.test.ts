import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GREEDY, PLAIN, type ChatMessage } from '../../src/inference/types.js';
import { openRuntime } from '../../src/runner/llama-runtime.js';
import type { Runtime } from '../../src/runner/runtime.js';
import { Sequences } from '../../src/runner/sequences.js';
import type { LoadOrder, RequestMessage } from '../../src/runner-protocol/messages.js';
import { hybridModel, windowModel } from '../support/made-models.js';
import { recorded } from '../support/recorded-runtime.js';

/** Prefixes of models whose rows cannot be cut anywhere, on the real runtime. */

const ROWS = 3;
const MEMORY: LoadOrder['prefixMemory'] = { bytes: 2 ** 22, bytesPerRow: 2 ** 15, bytesPerToken: 0 };
/** Greedy, but never the same token for long: the answer depends on the whole prompt. */
const WARY = { ...GREEDY, frequencyPenalty: 2 };
/** More than the window's cache holds (64 tokens and a batch, rounded up): what is behind it is gone from there. */
const LONG = 850;

/** Of digits each is a token. */
const text = (length: number, letters = '0123456789') =>
  letters.repeat(Math.ceil(length / letters.length)).slice(0, length);
const system = (content: string): ChatMessage => ({ role: 'system', content });
const user = (content: string): ChatMessage => ({ role: 'user', content });
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content });

interface Answer {
  text: string;
  /** How likely the model found each token of it. */
  logprobs: number[];
  prompt: number;
  cached: number;
}

/** Greedy answers alone could be the same by chance. What differs by less is rounding: other chunks were read at once. */
function expectSame(answer: Answer, alone: Answer): void {
  expect(answer.text).toBe(alone.text);
  answer.logprobs.forEach((logprob, nth) => expect(logprob).toBeCloseTo(alone.logprobs[nth] ?? NaN, 1));
  expect(answer.logprobs).toHaveLength(alone.logprobs.length);
  expect(alone.logprobs.length).toBeGreaterThan(0);
}

/** Requests in one runner, one after the other. Without a scope nothing is reused for one. */
function loopOn(runtime: Runtime, memory = MEMORY) {
  for (let row = 0; row < ROWS; row++) runtime.cut(row, 0);
  let heard: (message: RequestMessage) => void = () => undefined;
  let id = 0;
  const sequences = new Sequences(runtime, memory, (messages) => messages.forEach((message) => heard(message)));
  return (messages: ChatMessage[], cacheScope?: string) =>
    new Promise<Answer>((resolve, reject) => {
      let answer = '';
      const logprobs: number[] = [];
      heard = (message) => {
        if (message.type === 'text') {
          answer += message.text;
          logprobs.push(...(message.logprobs ?? []).map(({ logprob }) => logprob));
          sequences.acknowledge(message.id, 1);
        }
        if (message.type === 'failed') reject(new Error(message.message));
        if (message.type === 'done')
          resolve({ text: answer, logprobs, prompt: message.promptTokens, cached: message.cachedTokens });
      };
      const scope = cacheScope === undefined ? {} : { cacheScope };
      const how = { sampling: WARY, stop: [], ...PLAIN, maxTokens: 20, topLogprobs: 0, ...scope };
      sequences.start({ type: 'generate', id: ++id, messages, ...how });
    });
}

describe.each([
  ['a sliding window', windowModel],
  ['a recurrent layer', hybridModel],
])('with %s', (_, model) => {
  let runtime: Runtime;
  beforeAll(async () => {
    const order = { type: 'load', rows: ROWS, contextTokens: 2_048, threads: 1 } as const;
    runtime = await openRuntime({ ...order, modelPath: model() }, () => undefined);
  });
  afterAll(() => runtime.close());

  test('rows cannot be cut anywhere', () => {
    expect(runtime.cutsAnywhere).toBe(false);
  });

  test('the same question is read once', async () => {
    const ask = loopOn(runtime);
    const question = [user(text(LONG))];
    const first = await ask(question, 'mine');
    const second = await ask(question, 'mine');
    expect(first.cached).toBe(0);
    expect(second.cached).toBe(second.prompt - 16);
    const alone = await ask(question);
    expect(alone.cached).toBe(0);
    expectSame(first, alone);
    expectSame(second, alone);
  });

  test('instructions that conversations share are read once', async () => {
    const ask = loopOn(runtime);
    const instructions = system(text(LONG + 50));
    const questions = [text(LONG, '012'), 'What?', text(LONG, '123'), 'When?'].map((each) => [
      instructions,
      user(each),
    ]);
    for (const [nth, question] of questions.entries()) {
      const answer = await ask(question, 'mine');
      if (nth > 0) expect(answer.cached).toBeGreaterThanOrEqual(LONG);
      expectSame(answer, await ask(question));
    }
  });

  test('a conversation goes on, as it was written or without its thoughts', async () => {
    const ask = loopOn(runtime);
    const question = user(text(LONG));
    const first = await ask([question], 'mine');
    const without = [question, assistant('Short.'), user(text(100, 'abc'))];
    const second = await ask(without, 'mine');
    expect(second.cached).toBe(first.prompt - 16);
    expectSame(second, await ask(without));
    const further = [...without, assistant(second.text), user('And?')];
    const third = await ask(further, 'mine');
    expect(third.cached).toBeGreaterThanOrEqual(second.prompt - 16);
    expectSame(third, await ask(further));
  });

  test('where a prompt parts from another, the next one begins', async () => {
    const ask = loopOn(runtime);
    const about = (question: string) => [user(`${text(LONG + 50)} ${question}`)];
    for (const [nth, question] of [text(LONG, '012'), text(LONG, '123'), 'Why?'].entries()) {
      const answer = await ask(about(question), 'mine');
      expect(answer.cached >= LONG).toBe(nth === 2);
      expectSame(answer, await ask(about(question)));
    }
  });

  test.each<[string, string | undefined, string | undefined]>([
    ['another scope', 'mine', 'yours'],
    ['a request without a scope', 'mine', undefined],
    ['a scope when it came without one', undefined, 'mine'],
  ])('a prefix is read anew for %s', async (__, first, second) => {
    const watched = recorded(runtime);
    const ask = loopOn(watched.runtime);
    const question = [system(text(LONG)), user('What?')];
    await ask(question, first);
    expect(watched.saves() > 0).toBe(first !== undefined);
    expect((await ask(question, second)).cached).toBe(0);
  });

  test('without memory for it nothing is copied out, and what goes on goes on', async () => {
    const watched = recorded(runtime);
    const ask = loopOn(watched.runtime, { bytes: 1_000, bytesPerRow: 1_001, bytesPerToken: 0 });
    const question = user(text(300));
    const first = await ask([question], 'mine');
    const second = await ask([question, assistant(first.text), user('And?')], 'mine');
    expect([(await ask([question], 'mine')).cached, watched.saves()]).toEqual([0, 0]);
    expect(second.cached === 0 || second.cached >= first.prompt).toBe(true);
  });

  test.each<[string, (runtime: Runtime) => Runtime]>([
    ['copied out', (real) => ({ ...real, save: () => Promise.reject(new Error('Out of memory.')) })],
    [
      'put back',
      (real) => ({
        ...real,
        save: async (row, length) => {
          const saved = await real.save(row, length);
          return saved && { ...saved, restore: () => Promise.resolve(false) };
        },
      }),
    ],
  ])('what cannot be %s is read again', async (__, broken) => {
    const ask = loopOn(broken(runtime));
    const question = [user(text(LONG))];
    await ask(question, 'mine');
    const second = await ask(question, 'mine');
    expect(second).toMatchObject({ cached: 0, text: (await ask(question)).text });
  });
});
