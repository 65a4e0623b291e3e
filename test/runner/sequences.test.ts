import { afterEach, describe, expect, test, vi } from 'vitest';
import { GREEDY, PLAIN } from '../../src/inference/types.js';
import { openRuntime } from '../../src/runner/llama-runtime.js';
import type { Runtime } from '../../src/runner/runtime.js';
import { Sequences } from '../../src/runner/sequences.js';
import { CHUNK_TOKENS, READ_TOKENS } from '../../src/runner/step-plan.js';
import {
  READ_AHEAD,
  type GenerateOrder,
  type LoadOrder,
  type RequestMessage,
} from '../../src/runner-protocol/messages.js';
import { exactModel, loopModel } from '../support/made-models.js';
import { recorded, type Batch } from '../support/recorded-runtime.js';

/** The loop of a runner in this process, on the real runtime. */

let runtime: Runtime | undefined;
afterEach(async () => {
  await runtime?.close();
  runtime = undefined;
});

/** What the loop told, and a reader who takes everything at once unless a test says otherwise. */
class Outbox {
  readonly messages: RequestMessage[] = [];
  onMessage: (message: RequestMessage) => void = () => undefined;
  #wake: () => void = () => undefined;

  send = (messages: RequestMessage[]): void => {
    for (const message of messages) {
      this.messages.push(message);
      this.onMessage(message);
    }
    this.#wake();
  };

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  of(id: number): RequestMessage[] {
    return this.messages.filter((message) => message.id === id);
  }

  ended(id: number): RequestMessage | undefined {
    return this.of(id).find(({ type }) => type === 'done' || type === 'failed');
  }

  async untilEnded(...ids: number[]): Promise<void> {
    await this.until(() => ids.every((id) => this.ended(id) !== undefined));
  }

  text(id: number): string {
    return this.of(id)
      .map((message) => (message.type === 'text' ? message.text : ''))
      .join('');
  }
}

interface Options {
  rows: number;
  contextTokens: number;
  model?: string;
  prefixMemory?: LoadOrder['prefixMemory'];
}

async function open({ model = loopModel(), prefixMemory, ...order }: Options) {
  runtime = await openRuntime({ type: 'load', modelPath: model, threads: 1, ...order }, () => undefined);
  const watched = recorded(runtime);
  const outbox = new Outbox();
  return { sequences: new Sequences(watched.runtime, prefixMemory, outbox.send), outbox, ...watched };
}

function order(id: number, extra: Partial<GenerateOrder> = {}): GenerateOrder {
  return {
    type: 'generate',
    id,
    messages: [{ role: 'user', content: 'go' }],
    sampling: GREEDY,
    stop: [],
    ...PLAIN,
    ...extra,
  };
}

const texts = (messages: readonly RequestMessage[]) => messages.filter(({ type }) => type === 'text').length;

test('after a cancel at most one more token is written, and the row is free before the end is told', async () => {
  const { sequences, outbox, batches } = await open({ rows: 1, contextTokens: 512 });
  let stepsAtCancel = 0;
  outbox.onMessage = (message) => {
    if (message.type !== 'text' || texts(outbox.messages) !== 10) return;
    sequences.cancel(1);
    stepsAtCancel = batches.length;
  };
  sequences.start(order(1));
  await outbox.untilEnded(1);
  const end = outbox.ended(1);
  expect(end).toMatchObject({ type: 'failed', code: 'cancelled' });
  expect(stepsAtCancel).toBeGreaterThanOrEqual(10);
  expect(batches.length).toBeLessThanOrEqual(stepsAtCancel + 1);

  outbox.onMessage = () => undefined;
  sequences.start(order(2, { maxTokens: 3 })); // there is one row only
  await outbox.untilEnded(2);
  expect(outbox.ended(2)).toMatchObject({ type: 'done', completionTokens: 3 });
});

test('that a cancelled request has ended is told before others take their next step', async () => {
  const { sequences, outbox, batches } = await open({ rows: 2, contextTokens: 512 });
  let stepsAtCancel = 0;
  let stepsAtEnd = 0;
  outbox.onMessage = (message) => {
    if (message.type === 'text' && message.id === 1 && texts(outbox.of(1)) === 10) {
      sequences.cancel(1);
      stepsAtCancel = batches.length;
    }
    if (message.type === 'failed') stepsAtEnd = batches.length;
  };
  sequences.start(order(1));
  sequences.start(order(2, { maxTokens: 60 }));
  await outbox.untilEnded(1, 2);
  expect(stepsAtCancel).toBeGreaterThanOrEqual(10);
  expect(stepsAtEnd).toBe(stepsAtCancel);
});

test('a row whose reader takes nothing stands still after the read-ahead, and goes on when it reads', async () => {
  const { sequences, outbox } = await open({ rows: 2, contextTokens: 512 });
  sequences.start(order(1, { maxTokens: READ_AHEAD * 2 }));
  sequences.start(order(2, { maxTokens: 300 }));
  outbox.onMessage = (message) => {
    if (message.type === 'text' && message.id === 2) sequences.acknowledge(2, 1);
  };
  await outbox.untilEnded(2); // the other stream is not held up
  expect(texts(outbox.of(1))).toBe(READ_AHEAD);
  expect(outbox.ended(1)).toBeUndefined();
  sequences.acknowledge(1, READ_AHEAD);
  await outbox.untilEnded(1);
  expect(outbox.ended(1)).toMatchObject({ type: 'done', finishReason: 'length', completionTokens: READ_AHEAD * 2 });
});

test('an answer without a bound ends with the context, exactly', async () => {
  const { sequences, outbox } = await open({ rows: 1, contextTokens: 256 });
  outbox.onMessage = (message) => {
    if (message.type === 'text') sequences.acknowledge(1, 1);
  };
  sequences.start(order(1));
  await outbox.untilEnded(1);
  const end = outbox.ended(1);
  expect(end).toMatchObject({ type: 'done', finishReason: 'length' });
  const contextTokens = runtime?.facts.contextTokens ?? 0;
  const total = end?.type === 'done' ? end.promptTokens + end.completionTokens : 0;
  expect(total).toBe(contextTokens);
});

test('a prompt that fills the context is refused with both numbers, one that leaves a token is answered', async () => {
  const { sequences, outbox } = await open({ rows: 1, contextTokens: 256 });
  const empty = order(1, { messages: [{ role: 'user', content: '' }], maxTokens: 1 });
  sequences.start(empty);
  await outbox.untilEnded(1);
  const end = outbox.ended(1);
  const frame = end?.type === 'done' ? end.promptTokens : 0;
  const room = (runtime?.facts.contextTokens ?? 0) - frame;
  const content = (tokens: number) => [{ role: 'user' as const, content: '!'.repeat(tokens) }]; // one token each: no merges

  sequences.start(order(2, { messages: content(room - 1) }));
  await outbox.untilEnded(2);
  expect(outbox.ended(2)).toMatchObject({ type: 'done', completionTokens: 1, finishReason: 'length' });

  sequences.start(order(3, { messages: content(room) }));
  expect(outbox.ended(3)).toMatchObject({
    type: 'failed',
    code: 'context_length_exceeded',
    message: `The prompt has ${frame + room} tokens and exceeds the context length of ${frame + room} tokens.`,
  });
});

test('a cancel in a long prompt ends it after one chunk, without a word of answer', async () => {
  const { sequences, outbox, batches } = await open({ rows: 1, contextTokens: 4096 });
  outbox.onMessage = (message) => {
    if (message.type === 'started') sequences.cancel(1);
  };
  sequences.start(order(1, { messages: [{ role: 'user', content: '!'.repeat(3000) }] }));
  await outbox.untilEnded(1);
  expect(outbox.ended(1)).toMatchObject({ type: 'failed', code: 'cancelled', completionTokens: 0 });
  expect(texts(outbox.messages)).toBe(0);
  expect(batches).toEqual([[{ row: 0, tokens: READ_TOKENS }]]);
});

/** Requests that start when others are in the midst of writing. */
function startInTurn(sequences: Sequences, outbox: Outbox, orders: readonly GenerateOrder[]): void {
  outbox.onMessage = (message) => {
    if (message.type !== 'text') return;
    sequences.acknowledge(message.id, 1);
    const at = orders.findIndex(({ id }) => id === message.id);
    const next = orders[at + 1];
    if (next !== undefined && texts(outbox.of(message.id)) === 1) sequences.start(next);
  };
  if (orders[0] !== undefined) sequences.start(orders[0]);
}

const acknowledgeAll = (sequences: Sequences, outbox: Outbox) => {
  outbox.onMessage = (message) => {
    if (message.type === 'text') sequences.acknowledge(message.id, 1);
  };
};

const ids = (batch: Batch) => batch.map(({ row }) => row);
const digits = (tokens: number, of = '0123456789') => of.repeat(Math.ceil(tokens / of.length)).slice(0, tokens);
const user = (content: string) => ({ messages: [{ role: 'user' as const, content }] });

describe('one step', () => {
  test('is one batch: n streams make n rows, in ascending order', async () => {
    const { sequences, outbox, batches } = await open({ rows: 4, contextTokens: 512 });
    acknowledgeAll(sequences, outbox);
    for (const id of [1, 2, 3, 4]) sequences.start(order(id, { maxTokens: 30 }));
    await outbox.untilEnded(1, 2, 3, 4);
    const decoding = batches.filter((batch) => batch.every(({ tokens }) => tokens === 1));
    expect(decoding.length).toBeGreaterThanOrEqual(29);
    for (const batch of decoding) expect(ids(batch)).toEqual([0, 1, 2, 3]);
  });

  test('stays in ascending order without gaps while requests come and go', async () => {
    const { sequences, outbox, batches } = await open({ rows: 7, contextTokens: 512 });
    const bounds = [60, 20, 70, 15, 40, 25, 30];
    startInTurn(
      sequences,
      outbox,
      bounds.map((maxTokens, index) => order(index + 1, { maxTokens })),
    );
    await outbox.untilEnded(...bounds.map((_, index) => index + 1));
    for (const batch of batches) expect(ids(batch)).toEqual([...ids(batch)].sort((a, b) => a - b));
    const apart = batches.map(ids).filter((rows) => rows.some((row, at) => at > 0 && row !== (rows[at - 1] ?? 0) + 1));
    // a gap is left open for one step, then closed; five requests end while others write
    expect(apart.length).toBeLessThanOrEqual(5);
  });

  test('reads a bounded share of the prompts, and every writing row goes on', async () => {
    const { sequences, outbox, batches } = await open({ rows: 4, contextTokens: 2_048 });
    acknowledgeAll(sequences, outbox);
    sequences.start(order(1, { maxTokens: 600 }));
    await outbox.until(() => texts(outbox.of(1)) > 0);
    const before = batches.length;
    for (const id of [2, 3, 4]) sequences.start(order(id, { ...user(digits(1_000)), maxTokens: 2 }));
    await outbox.untilEnded(2, 3, 4);
    const during = batches.slice(before).filter((batch) => batch.some(({ tokens }) => tokens > 1));
    expect(during.length).toBeGreaterThanOrEqual(6);
    for (const batch of during) {
      const reading = batch.slice(1).map(({ tokens }) => tokens);
      expect(batch[0]).toEqual({ row: 0, tokens: 1 });
      expect(Math.max(...reading)).toBeLessThanOrEqual(CHUNK_TOKENS);
      expect(reading.reduce((sum, tokens) => sum + tokens, 0)).toBeLessThanOrEqual(READ_TOKENS + 2);
    }
    // in turn: no prompt gets its second chunk before all have had their first
    expect(new Set(during.slice(0, 2).flatMap(ids))).toEqual(new Set([0, 1, 2, 3]));
  });
});

test('a row that cannot be moved stays where it is, and everyone is answered', async () => {
  const { sequences, outbox, runtime: watched } = await open({ rows: 3, contextTokens: 512 });
  let moves = 0;
  watched.copy = () => Promise.reject(new Error(`move ${++moves}`));
  const bounds = [80, 15, 60];
  startInTurn(
    sequences,
    outbox,
    bounds.map((maxTokens, index) => order(index + 1, { maxTokens })),
  );
  await outbox.untilEnded(1, 2, 3);
  expect(moves).toBe(1);
  expect([1, 2, 3].map((id) => outbox.ended(id))).toMatchObject(
    bounds.map((completionTokens) => ({ type: 'done', completionTokens })),
  );
  sequences.start(order(4, { maxTokens: 3 }));
  await outbox.untilEnded(4);
  expect(outbox.text(1).startsWith(outbox.text(4))).toBe(true);
});

test('what goes wrong between two steps ends the requests that run, each with a word, and nobody later', async () => {
  const { sequences, outbox, runtime: watched } = await open({ rows: 2, contextTokens: 512 });
  acknowledgeAll(sequences, outbox);
  for (const id of [1, 2]) sequences.start(order(id));
  await outbox.until(() => [1, 2].every((id) => texts(outbox.of(id)) > 0));
  const real = runtime ?? expect.fail('no runtime');
  watched.cut = () => {
    watched.cut = (row, length) => real.cut(row, length);
    throw new Error('no cut');
  };
  sequences.cancel(1); // its row is emptied
  await outbox.untilEnded(1, 2);
  expect([1, 2].map((id) => outbox.ended(id))).toMatchObject([
    { type: 'failed', code: 'cancelled' },
    { type: 'failed', code: 'internal' },
  ]);
  sequences.start(order(3, { maxTokens: 3 }));
  await outbox.untilEnded(3);
  expect(outbox.ended(3)).toMatchObject({ type: 'done', completionTokens: 3 });
});

test('what there is to tell leaves before a step that reads a prompt', async () => {
  const { sequences, outbox, batches } = await open({ rows: 1, contextTokens: 2_048 });
  let stepsBefore: number | undefined;
  outbox.onMessage = ({ type }) => {
    if (type === 'started') stepsBefore = batches.length;
  };
  sequences.start(order(1, { ...user(digits(900)), maxTokens: 1 }));
  await outbox.untilEnded(1);
  expect(batches.length).toBeGreaterThan(1);
  expect(stepsBefore).toBe(0);
});

describe('a prefix', () => {
  const shared = digits(400);
  /** Greedy, but never the same token for long: the answer depends on the whole prompt. */
  const wary = { ...GREEDY, frequencyPenalty: 2 };
  const ask = (id: number, content: string, cacheScope?: string): GenerateOrder =>
    order(id, {
      ...user(content),
      sampling: wary,
      maxTokens: 20,
      ...(cacheScope === undefined ? {} : { cacheScope }),
    });
  const counts = (outbox: Outbox, id: number) => {
    const end = outbox.ended(id);
    return end?.type === 'done' ? { prompt: end.promptTokens, cached: end.cachedTokens } : undefined;
  };

  test('is read once for one scope, and the answer is the same', async () => {
    const { sequences, outbox } = await open({ rows: 2, contextTokens: 1_024, model: exactModel() });
    acknowledgeAll(sequences, outbox);
    for (const id of [1, 2]) {
      sequences.start(ask(id, `${shared}a`, 'mine'));
      await outbox.untilEnded(id);
    }
    sequences.start(ask(3, `${shared}b`, 'mine'));
    await outbox.untilEnded(3);
    sequences.start(ask(4, `${shared}b`));
    await outbox.untilEnded(4);
    expect(counts(outbox, 1)?.cached).toBe(0);
    expect(counts(outbox, 2)).toEqual({
      prompt: counts(outbox, 1)?.prompt,
      cached: (counts(outbox, 1)?.prompt ?? 0) - 1,
    });
    expect(counts(outbox, 3)?.cached).toBeGreaterThanOrEqual(400);
    expect(counts(outbox, 4)?.cached).toBe(0);
    expect(outbox.text(2)).toBe(outbox.text(1));
    expect(outbox.text(3)).toBe(outbox.text(4));
    expect(outbox.text(3)).not.toBe(outbox.text(1));
  });

  test('is told when the request starts', async () => {
    const { sequences, outbox } = await open({ rows: 1, contextTokens: 1_024 });
    acknowledgeAll(sequences, outbox);
    for (const id of [1, 2]) {
      sequences.start(ask(id, shared, 'mine'));
      await outbox.untilEnded(id);
    }
    expect(outbox.of(2)[0]).toMatchObject({ type: 'started', cachedTokens: counts(outbox, 2)?.cached });
  });

  test.each<[string, string | undefined, string | undefined]>([
    ['another scope', 'mine', 'yours'],
    ['a request without a scope', 'mine', undefined],
    ['a scope when it came without one', undefined, 'mine'],
    ['a second request without a scope', undefined, undefined],
  ])('is read anew for %s', async (_, first, second) => {
    const { sequences, outbox } = await open({
      rows: 2,
      contextTokens: 1_024,
      prefixMemory: { bytes: 2 ** 30, bytesPerRow: 0, bytesPerToken: 512 },
    });
    acknowledgeAll(sequences, outbox);
    sequences.start(ask(1, shared, first));
    await outbox.untilEnded(1);
    sequences.start(ask(2, shared, second));
    sequences.start(ask(3, shared, second === undefined ? 'third' : undefined));
    await outbox.untilEnded(2, 3);
    expect([counts(outbox, 2)?.cached, counts(outbox, 3)?.cached]).toEqual([0, 0]);
  });

  test('is copied from a row that is busy', async () => {
    const { sequences, outbox, copies } = await open({ rows: 3, contextTokens: 1_024, model: exactModel() });
    startInTurn(sequences, outbox, [{ ...ask(1, `${shared}a`, 'mine'), maxTokens: 40 }, ask(2, `${shared}b`, 'mine')]);
    await outbox.untilEnded(1, 2);
    expect(copies).toEqual([{ from: 0, to: 1 }]);
    expect(counts(outbox, 2)?.cached).toBeGreaterThanOrEqual(400);
    sequences.start(ask(3, `${shared}b`));
    await outbox.untilEnded(3);
    expect(outbox.text(2)).toBe(outbox.text(3));
  });

  test('that many ask for at once is read once', async () => {
    const { sequences, outbox, batches } = await open({ rows: 4, contextTokens: 1_024, model: exactModel() });
    acknowledgeAll(sequences, outbox);
    for (const id of [1, 2, 3, 4]) sequences.start(ask(id, `${shared}${id}`, 'mine'));
    await outbox.untilEnded(1, 2, 3, 4);
    const read = batches.flat().reduce((sum, { tokens }) => sum + (tokens > 1 ? tokens : 0), 0);
    expect(read).toBeLessThan(2 * 400);
    for (const id of [2, 3, 4]) expect(counts(outbox, id)?.cached).toBeGreaterThanOrEqual(400);
    sequences.start(ask(5, `${shared}4`));
    await outbox.untilEnded(5);
    expect(outbox.text(4)).toBe(outbox.text(5));
  });

  test("that another reads does not count as one's own time of reading", async () => {
    const { sequences, outbox, batches } = await open({ rows: 2, contextTokens: 2_048, model: exactModel() });
    acknowledgeAll(sequences, outbox);
    using _clock = vi.spyOn(performance, 'now').mockImplementation(() => batches.length * 1_000); // a step takes 1 s
    for (const id of [1, 2]) sequences.start(ask(id, `${digits(900)}${id}`, 'mine'));
    await outbox.untilEnded(1, 2);
    const times = [1, 2].map((id) => outbox.ended(id)).map((end) => (end?.type === 'done' ? end.promptMs : 0));
    expect(times[0]).toBeGreaterThan(1_000);
    expect(times[1]).toBe(1_000); // what differs at the end
  });

  test('that lost its row comes back from the store, up to where it is the same', async () => {
    const { sequences, outbox, saves } = await open({
      rows: 1,
      contextTokens: 1_024,
      model: exactModel(),
      prefixMemory: { bytes: 2 ** 24, bytesPerRow: 0, bytesPerToken: 512 },
    });
    acknowledgeAll(sequences, outbox);
    const other = digits(400, 'abcdefg');
    for (const [index, content] of [`${shared}a`, other, `${shared}b`].entries()) {
      sequences.start(ask(index + 1, content, 'mine'));
      await outbox.untilEnded(index + 1);
    }
    expect(saves()).toBeGreaterThan(0);
    expect(counts(outbox, 3)?.cached).toBeGreaterThanOrEqual(400);
    sequences.start(ask(4, `${shared}b`));
    await outbox.untilEnded(4);
    expect(outbox.text(3)).toBe(outbox.text(4));
  });

  test('moves to an empty row when its own is needed', async () => {
    const { sequences, outbox } = await open({ rows: 3, contextTokens: 1_024, model: exactModel() });
    acknowledgeAll(sequences, outbox);
    const other = digits(400, 'abcdefg');
    sequences.start(ask(1, other, 'mine'));
    sequences.start(ask(2, `${shared}a`, 'mine'));
    await outbox.untilEnded(1, 2);
    startInTurn(sequences, outbox, [
      { ...ask(3, `${other}b`, 'mine'), maxTokens: 40 }, // where it was; row 1 lies beside it
      { ...ask(4, digits(300, 'xyz'), 'mine'), maxTokens: 20 },
    ]);
    await outbox.untilEnded(3, 4);
    sequences.start(ask(5, `${shared}c`, 'mine'));
    await outbox.untilEnded(5);
    expect(counts(outbox, 5)?.cached).toBeGreaterThanOrEqual(400);
    sequences.start(ask(6, `${shared}c`));
    await outbox.untilEnded(6);
    expect(outbox.text(5)).toBe(outbox.text(6));
  });

  test('of a cancelled request serves as far as it was read', async () => {
    const { sequences, outbox } = await open({ rows: 1, contextTokens: 2_048 });
    outbox.onMessage = (message) => {
      if (message.type === 'started' && message.id === 1) sequences.cancel(1);
    };
    sequences.start(ask(1, digits(1_500), 'mine'));
    await outbox.untilEnded(1);
    sequences.start(ask(2, digits(1_500), 'mine'));
    await outbox.untilEnded(2);
    expect(counts(outbox, 2)?.cached).toBe(READ_TOKENS);
  });
});

test('streams that start at different times end with the same text as alone', async () => {
  const { sequences, outbox } = await open({ rows: 3, contextTokens: 512 });
  startInTurn(
    sequences,
    outbox,
    [1, 2, 3].map((id) => order(id, { maxTokens: 40 })),
  );
  await outbox.untilEnded(1, 2, 3);
  expect(new Set([1, 2, 3].map((id) => outbox.text(id))).size).toBe(1);
});
