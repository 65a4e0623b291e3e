import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GREEDY, PLAIN, type TokenLogprob } from '../../src/inference/types.js';
import { openRuntime } from '../../src/runner/llama-runtime.js';
import type { Runtime, SamplerOptions } from '../../src/runner/runtime.js';
import type { GenerateOrder } from '../../src/runner-protocol/messages.js';
import { quantizedModel, randomModel } from '../support/made-models.js';
import { runOrders } from '../support/run-orders.js';

/** How tokens are chosen, on the real runtime with a model that writes anything. */

const VOCABULARY = 1_024;
/** A byte of the model's vocabulary. */
const byteToken = (byte: number) => byte + 3;
const PROMPT = [5, 6, 7, 8];

let runtime: Runtime;
beforeAll(async () => {
  const order = { type: 'load', rows: 4, contextTokens: 512, threads: 1 } as const;
  runtime = await openRuntime({ ...order, modelPath: randomModel() }, () => undefined);
});
afterAll(() => runtime.close());

const PLAINLY = { ...GREEDY, temperature: 1 };

/** The first token after the prompt. */
async function first(options: Partial<SamplerOptions>, seed = 1) {
  runtime.cut(0, 0);
  const sampler = runtime.createSampler({ sampling: GREEDY, logitBias: {}, ...options }, seed);
  const [choice] = await runtime.step([{ row: 0, position: 0, tokens: PROMPT, sampler }]);
  sampler.dispose();
  if (choice === undefined || choice instanceof Error) throw choice ?? new Error('no choice');
  return choice;
}

const order = (extra: Partial<GenerateOrder> = {}): Omit<GenerateOrder, 'id'> => ({
  type: 'generate',
  messages: [{ role: 'user', content: 'go' }],
  sampling: PLAINLY,
  stop: [],
  ...PLAIN,
  maxTokens: 40,
  ...extra,
});

/** A hundred more than any other token has: nothing else is chosen. */
const only = (...tokens: readonly number[]) => Object.fromEntries(tokens.map((token) => [token, 100]));

describe('probabilities', () => {
  test('are those of the whole vocabulary: together they are 1, and the likeliest come first', async () => {
    const all: number[] = [];
    for (let token = 0; token < VOCABULARY; token++) {
      const choice = await first({ logitBias: only(token), topLogprobs: 0 });
      expect(choice.token).toBe(token);
      expect(choice.logprob?.top).toEqual([]);
      all.push(choice.logprob?.logprob ?? NaN);
    }
    expect(all.reduce((sum, logprob) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 4);

    const { token, logprob } = await first({ topLogprobs: 20 });
    const likeliest = [...all].sort((a, b) => b - a).slice(0, 20);
    expect(all[token]).toBeCloseTo(likeliest[0] ?? NaN, 5);
    for (const [index, each] of (logprob?.top ?? []).entries())
      expect(each.logprob).toBeCloseTo(likeliest[index] ?? NaN, 5);
    expect(logprob?.top).toHaveLength(20);
  });

  test('are how often tokens are chosen', async () => {
    const tokens = [100, 200, 300, 400, 500];
    const chances: number[] = [];
    for (const token of tokens) {
      const { logprob } = await first({ logitBias: only(token), topLogprobs: 0 });
      chances.push(Math.exp(logprob?.logprob ?? NaN));
    }
    const whole = chances.reduce((sum, chance) => sum + chance, 0);
    const draws = 1_500;
    const counts = new Map<number, number>();
    for (let seed = 0; seed < draws; seed++) {
      const { token } = await first({ sampling: PLAINLY, logitBias: only(...tokens) }, seed);
      counts.set(token, (counts.get(token) ?? 0) + 1);
    }
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual(tokens);
    for (const [index, token] of tokens.entries()) {
      const chance = (chances[index] ?? NaN) / whole;
      const deviation = Math.sqrt(chance * (1 - chance) * draws);
      expect(Math.abs((counts.get(token) ?? 0) - chance * draws)).toBeLessThan(4 * deviation);
    }
  });

  test.each<[string, Partial<SamplerOptions>]>([
    ['temperature', { sampling: { ...PLAINLY, temperature: 0.3 } }],
    ['top_p, top_k and min_p', { sampling: { ...PLAINLY, topP: 0.2, topK: 3, minP: 0.5 } }],
    ['logit_bias', { logitBias: { 100: -100, 200: 7 } }],
    ['penalties', { sampling: { ...GREEDY, frequencyPenalty: 2, repetitionPenalty: 1.5 } }],
    ['a grammar', { grammar: 'root ::= "no"' }],
  ])('are the same whatever %s says', async (_, options) => {
    const plain = await first({ topLogprobs: 5 });
    const other = await first({ topLogprobs: 5, ...options });
    expect(other.logprob?.top).toEqual(plain.logprob?.top);
  });

  test('come with the text that they belong to, byte for byte', async () => {
    const text = { type: 'schema', schema: { type: 'string', minLength: 40 } } as const; // whole characters only
    const orders = [1, 2, 3, 4, 5, 6].map((seed) =>
      order({
        sampling: { ...PLAINLY, seed },
        topLogprobs: 2,
        ...(seed > 3 ? { format: text, logitBias: { [byteToken(0xe0)]: -100, [byteToken(0xf0)]: -100 } } : {}),
      }),
    );
    const answers = await runOrders(runtime, orders);
    const pieces = answers.map(({ logprobs }) => logprobs.flatMap(({ bytes }) => bytes));
    for (const [index, { text }] of answers.entries()) expect(Buffer.from(pieces[index] ?? []).toString()).toBe(text);
    expect(answers.map(({ text }) => text).join('')).toMatch(/[^\p{ASCII}\uFFFD]/u); // characters of several tokens
    for (const { top, logprob } of answers.flatMap(({ logprobs }) => logprobs)) {
      expect(top).toHaveLength(2);
      expect(logprob).toBeLessThanOrEqual((top[0] as TokenLogprob).logprob);
    }
  });

  test('of a stop string are not told', async () => {
    const plain = order({ sampling: { ...PLAINLY, seed: 3 }, topLogprobs: 0 });
    const [whole] = await runOrders(runtime, [plain]);
    const stop = whole?.text.slice(30, 33) ?? '';
    const [stopped] = await runOrders(runtime, [{ ...plain, stop: [stop] }]);
    expect(stopped?.text).toBe(whole?.text.slice(0, whole.text.indexOf(stop)));
    const told = Buffer.from(stopped?.logprobs.flatMap(({ bytes }) => bytes) ?? []).toString();
    const last = stopped?.logprobs.at(-1)?.token ?? '';
    expect(told.startsWith(stopped?.text ?? '-')).toBe(true);
    expect(told.length - (stopped?.text.length ?? 0)).toBeLessThan(last.length);
  });

  test('are not told unless they are asked for', async () => {
    expect(await first({})).toEqual({ token: (await first({})).token });
    const [answer] = await runOrders(runtime, [order()]);
    expect(answer?.logprobs).toEqual([]);
  });
});

describe('logit_bias', () => {
  test('of -100 forbids a token, whatever else there is', async () => {
    const forbidden: Record<string, number> = {};
    for (let round = 0; round < 5; round++) {
      const { token } = await first({ logitBias: forbidden });
      expect(Object.keys(forbidden)).not.toContain(String(token));
      forbidden[token] = -100;
    }
    // only the likeliest is left and forbidden: still another one
    const { token } = await first({ sampling: { ...PLAINLY, topK: 1 }, logitBias: forbidden });
    expect(Object.keys(forbidden)).not.toContain(String(token));
  });

  test('of 100 forces a token; of two, the likelier one', async () => {
    const [a, b] = [(await first({ logitBias: only(100) })).token, (await first({ logitBias: only(200) })).token];
    expect([a, b]).toEqual([100, 200]);
    expect([100, 200]).toContain((await first({ logitBias: only(100, 200) })).token);
  });

  test('is added: as much as the distance to the likeliest decides', async () => {
    const { token: likeliest, logprob } = await first({ topLogprobs: 2 });
    const [best = NaN, second = NaN] = logprob?.top.map((each) => each.logprob) ?? [];
    const less = await first({ logitBias: { [likeliest]: second - best + 0.01 } });
    const more = await first({ logitBias: { [likeliest]: second - best - 0.01 } });
    expect(less.token).toBe(likeliest);
    expect(more.token).not.toBe(likeliest);
  });

  test('refuses a token that the vocabulary has not', async () => {
    const [answer] = await runOrders(runtime, [order({ logitBias: { [VOCABULARY]: 1 } })]);
    expect(answer?.end).toMatchObject({
      type: 'failed',
      code: 'invalid_request',
      param: 'logit_bias',
      message: `'logit_bias': must name tokens of the model's vocabulary, 0 to ${VOCABULARY - 1}.`,
    });
  });
});

describe('a grammar', () => {
  test('holds the whole answer', async () => {
    const [json] = await runOrders(runtime, [
      order({ format: { type: 'json' }, logitBias: { [byteToken(0x22)]: 6 }, maxTokens: 300 }),
    ]);
    expect(json?.end).toMatchObject({ finishReason: 'stop' });
    expect(JSON.parse(json?.text ?? '')).toBeTypeOf('object');
  });

  test('may begin and end in mid-answer, and penalties remember what was before', async () => {
    const sampling = { ...GREEDY, frequencyPenalty: 2 };
    const sampler = runtime.createSampler({ sampling, logitBias: {} }, 1);
    runtime.cut(0, 0);
    let [position, tokens] = [0, PROMPT];
    const written: number[] = [];
    const write = async (count: number) => {
      for (let index = 0; index < count; index++) {
        const [choice] = await runtime.step([{ row: 0, position, tokens, sampler }]);
        if (choice === undefined || choice instanceof Error) throw choice ?? new Error('no choice');
        position += tokens.length;
        tokens = [choice.token];
        written.push(choice.token);
      }
      return runtime.detokenize(written.slice(-count), []);
    };
    await write(6);
    sampler.constrain('root ::= [0-9]{4} more\nmore ::= [0-9]*');
    expect(await write(6)).toMatch(/^\d{6}$/u);
    sampler.constrain(undefined);
    expect(await write(12)).not.toMatch(/^\d/u);
    sampler.dispose();
    expect(new Set(written).size).toBeGreaterThan(written.length / 2);
  });

  test('that cannot be compiled refuses its request, and the others go on', async () => {
    expect(() => runtime.createSampler({ sampling: GREEDY, logitBias: {}, grammar: 'root ::= missing' }, 1)).toThrow(
      expect.objectContaining({ code: 'unprocessable' }) as Error,
    );
    expect((await first({})).token).toBeTypeOf('number');
  });

  test('that leaves no token says so, and not which token it was', async () => {
    const failed = first({ grammar: 'root ::= "~"', logitBias: { [byteToken(0x7e)]: -100 } });
    await expect(failed).rejects.toThrow('The grammar leaves no token to choose from.');
  });
});

describe('a seed', () => {
  const ask = (seed: number, content: string) =>
    order({ messages: [{ role: 'user', content }], sampling: { ...PLAINLY, seed }, maxTokens: 50 });

  test('gives the same text again, and another seed another one', async () => {
    const [a, b, c] = await runOrders(runtime, [ask(11, 'go'), ask(11, 'go'), ask(12, 'go')], 1);
    expect(a?.text).toBe(b?.text);
    expect(a?.text).not.toBe(c?.text);
  });

  test('gives the same text again, whatever others asked for in between', async () => {
    const wanted = [ask(11, 'go'), ask(0, 'go'), ask(1, 'go')];
    const before = await runOrders(runtime, wanted, 1);
    const others: Partial<GenerateOrder>[] = [
      { sampling: { ...PLAINLY, seed: 11, presencePenalty: 1.5, frequencyPenalty: 1, repetitionPenalty: 1.3 } },
      { sampling: { ...PLAINLY, seed: 11, minP: 0.5, topP: 0.3, topK: 2 } },
      { sampling: GREEDY, logitBias: only(byteToken(0x61)), topLogprobs: 3 },
      { sampling: { ...PLAINLY, seed: 11 }, format: { type: 'json' } },
    ];
    for (const extra of others) {
      await runOrders(runtime, Array<Omit<GenerateOrder, 'id'>>(4).fill(order(extra)), 4);
      expect((await runOrders(runtime, wanted, 1)).map(({ text }) => text)).toEqual(before.map(({ text }) => text));
    }
  });

  // Threads that wait for each other by spinning are slow with so small a model: with two of them, a few requests only.
  test.each([
    { threads: 1, lengths: [300, 3, 700, 90, 257, 520, 40, 12, 610, 5, 333, 150], bounds: [2, 3, 8], maxTokens: 50 },
    { threads: 2, lengths: [700, 3, 300, 240], bounds: [4], maxTokens: 16 },
  ])(
    'gives the same text alone and beside others that read and write, with quantized weights on a CPU, threads: $threads',
    async ({ threads, lengths, bounds, maxTokens }) => {
      const model = { modelPath: quantizedModel(), rows: 8, contextTokens: 1_024, threads, gpuLayers: 0 };
      const quantized = await openRuntime({ type: 'load', ...model }, () => undefined);
      try {
        const asked = lengths.map((length, index) => ({
          ...ask(index, '0123456789'.repeat(70).slice(0, length)),
          maxTokens,
        }));
        const alone = await runOrders(quantized, asked, 1);
        expect(new Set(alone.map(({ text }) => text)).size).toBe(lengths.length);
        for (const together of bounds) {
          const beside = await runOrders(quantized, asked, together);
          expect(beside.map(({ text }) => text)).toEqual(alone.map(({ text }) => text));
        }
      } finally {
        await quantized.close();
      }
    },
  );
});
