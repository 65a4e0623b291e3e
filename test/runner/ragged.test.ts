import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PromptTemplate } from '../../src/inference/prompt.js';
import { GREEDY, PLAIN } from '../../src/inference/types.js';
import { openRuntime } from '../../src/runner/llama-runtime.js';
import type { Runtime } from '../../src/runner/runtime.js';
import { Sequences } from '../../src/runner/sequences.js';
import type { GenerateOrder, RequestMessage } from '../../src/runner-protocol/messages.js';
import { exactModel, quantizedModel } from '../support/made-models.js';
import { recorded } from '../support/recorded-runtime.js';

/**
 * Whatever comes together, in whatever order, and whatever was reused, copied, stored or moved for it: each request gets
 * the answer that it gets alone. The real runtime; a model whose every token depends on all before it.
 */

const ROWS = 4;
const MODEL = { type: 'load', rows: ROWS, contextTokens: 1_024, threads: 1 } as const;
/** Greedy, but never the same token for long. */
const WARY = { ...GREEDY, frequencyPenalty: 2 };

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ ...MODEL, modelPath: exactModel() }, () => undefined);
});
afterAll(() => runtime.close());

interface Request {
  content: string;
  scope: string | undefined;
  maxTokens: number;
  /** Requests that have ended before this one starts; at most `ROWS` run together. */
  after: number;
  /** Cancelled after so many texts; 0: not. */
  cancelAfter: number;
  seed?: number;
}

/** Runs them all and returns text and end of each. */
async function run(requests: readonly Request[], storeBytes: number, on: Runtime) {
  const texts = requests.map(() => '');
  const ends = new Map<number, RequestMessage>();
  let heard: () => void = () => undefined;
  const counts = requests.map(() => 0);
  const sequences = new Sequences(on, { bytes: storeBytes, bytesPerRow: 0, bytesPerToken: 0 }, (messages) => {
    for (const message of messages) {
      const { id } = message;
      if (message.type === 'text') {
        texts[id] += message.text;
        counts[id] = (counts[id] ?? 0) + 1;
        sequences.acknowledge(id, 1);
        if (counts[id] === requests[id]?.cancelAfter) sequences.cancel(id);
      }
      if (message.type === 'done' || message.type === 'failed') ends.set(id, message);
    }
    heard();
  });
  let next = 0;
  while (ends.size < requests.length) {
    for (let request = requests[next]; request !== undefined; request = requests[next]) {
      if (next - ends.size >= ROWS || ends.size < Math.min(request.after, next)) break;
      sequences.start(orderOf(next, request));
      next++;
    }
    if (ends.size < requests.length) await new Promise<void>((resolve) => (heard = resolve));
  }
  return requests.map((_, id) => ({ text: texts[id] ?? '', end: ends.get(id) }));
}

function orderOf(id: number, { content, scope, maxTokens, seed }: Request): GenerateOrder {
  return {
    type: 'generate',
    id,
    messages: [{ role: 'user', content }],
    sampling: seed === undefined ? WARY : { ...WARY, seed },
    stop: [],
    ...PLAIN,
    maxTokens,
    ...(scope === undefined ? {} : { cacheScope: scope }),
  };
}

function tokensOf(tokenizing: Generator<number, number[]>): number[] {
  let state = tokenizing.next();
  while (state.done !== true) state = tokenizing.next();
  return state.value;
}

/**
 * What the bare runtime answers when the prompt is read in other chunks, or beside another row. Two tokens can be so
 * equally likely that the rounding of a differently shaped batch decides; that is no matter of what was reused.
 */
async function answersOtherwise(one: Request, cached: number): Promise<string[]> {
  const { messages, maxTokens = 0, sampling } = orderOf(0, one);
  const template = new PromptTemplate(runtime.template, runtime.controlTokens);
  const chat = messages.map(({ content }) => ({ role: 'user' as const, content }));
  const { runs } = template.render({ ...PLAIN, messages: chat });
  const prompt = tokensOf(runtime.tokenizePrompt(runs));
  const borders = [0, 1, 8, cached, cached + 256, 256, 512, prompt.length - 8, prompt.length - 1];
  const answers: string[] = [];
  for (const border of borders.filter((each) => each >= 0 && each < prompt.length)) {
    for (const beside of [[], prompt.slice(0, 8), prompt.slice(0, 40)]) {
      for (const row of [0, 1]) runtime.cut(row, 0);
      const sampler = runtime.createSampler({ sampling, logitBias: {} }, 0);
      const answer: number[] = [];
      let feed = prompt.slice(border);
      if (border > 0)
        await runtime.step([{ row: 0, position: 0, tokens: prompt.slice(0, border), sampler: undefined }]);
      for (let position = border; answer.length < maxTokens; position += feed.length, feed = answer.slice(-1)) {
        const neighbour = { row: 1, position: 0, tokens: beside, sampler: undefined };
        const [choice] = await runtime.step([
          { row: 0, position, tokens: feed, sampler },
          ...(answer.length === 0 && beside.length > 0 ? [neighbour] : []),
        ]);
        if (choice === undefined || choice instanceof Error || runtime.isEnd(choice.token)) break;
        answer.push(choice.token);
      }
      sampler.dispose();
      answers.push(runtime.detokenize(answer, []).replace(/\uFFFD+$/u, ''));
    }
  }
  return answers;
}

const ALONE = { scope: undefined, after: 0, cancelAfter: 0 } as const;

const beginnings = ['0123456789', 'abcdefghij', '0123456789abcdefghij'];
const content = fc
  .record({
    beginning: fc.constantFrom(...beginnings),
    times: fc.integer({ min: 0, max: 40 }),
    end: fc.string({ unit: fc.constantFrom('x', 'y', 'z'), maxLength: 60 }),
  })
  .map(({ beginning, times, end }) => beginning.repeat(times).slice(0, 400) + end);
const request: fc.Arbitrary<Request> = fc.record({
  content,
  scope: fc.constantFrom('mine', 'mine', 'yours', undefined),
  maxTokens: fc.integer({ min: 1, max: 24 }),
  after: fc.nat(8),
  cancelAfter: fc.constantFrom(0, 0, 0, 3),
});

test('every answer of a ragged load is the one that the request gets alone', async () => {
  const seen = { copies: 0, saves: 0, cached: 0 };
  const alone = new Map<string, string>();
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 6, maxLength: 14 }), async (requests) => {
      const watched = recorded(runtime);
      const together = await run(requests, 2 ** 22, watched.runtime);
      for (const [id, { text, end }] of together.entries()) {
        const one = requests[id];
        if (one === undefined) continue;
        const key = JSON.stringify([one.content, one.maxTokens]);
        const [reference] = alone.has(key) ? [] : await run([{ ...one, ...ALONE }], 0, runtime);
        if (reference !== undefined) alone.set(key, reference.text);
        const whole = alone.get(key) ?? '';
        const fits = (answer: string) => (end?.type === 'done' ? text === answer : answer.startsWith(text));
        const cached = end?.type === 'done' || end?.type === 'failed' ? end.cachedTokens : 0;
        if (!fits(whole))
          expect((await answersOtherwise(one, cached)).some(fits), `'${whole}' became '${text}'`).toBe(true);
        if (end?.type === 'done' && one.scope === undefined) expect(end.cachedTokens).toBe(0);
        if (end?.type === 'done') seen.cached += end.cachedTokens;
      }
      seen.copies += watched.copies.length;
      seen.saves += watched.saves();
    }),
    { numRuns: 12, seed: 20_261_122 },
  );
  // else it was not tried
  expect(seen.cached).toBeGreaterThan(1_000);
  expect(seen.copies).toBeGreaterThan(5);
  expect(seen.saves).toBeGreaterThan(0);
});

test('with a seed and quantized weights it is so to the letter, whatever comes beside it', async () => {
  const quantized = await openRuntime({ ...MODEL, modelPath: quantizedModel() }, () => undefined);
  const seen = { seeded: 0, cached: 0 };
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 6, maxLength: 14 }), async (requests) => {
        const seeded = requests.map((one) => (one.scope === undefined ? { ...one, seed: 7 } : one));
        const together = await run(seeded, 2 ** 22, quantized);
        for (const [id, { text, end }] of together.entries()) {
          const one = seeded[id];
          if (end?.type === 'done') seen.cached += end.cachedTokens;
          if (one?.seed === undefined) continue;
          const [alone] = await run([{ ...one, ...ALONE }], 0, quantized);
          seen.seeded++;
          if (end?.type === 'done') expect(text).toBe(alone?.text);
          else expect(alone?.text.startsWith(text)).toBe(true);
        }
      }),
      { numRuns: 12, seed: 20_261_122 },
    );
  } finally {
    await quantized.close();
  }
  // else it was not tried
  expect(seen.seeded).toBeGreaterThan(10);
  expect(seen.cached).toBeGreaterThan(1_000);
});
