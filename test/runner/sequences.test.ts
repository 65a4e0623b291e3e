import { afterEach, expect, test } from 'vitest';
import { GREEDY } from '../../src/inference/types.js';
import { openRuntime, type Runtime } from '../../src/runner/llama-runtime.js';
import { Sequences } from '../../src/runner/sequences.js';
import { READ_AHEAD, type GenerateOrder, type RunnerMessage } from '../../src/runner-protocol/messages.js';
import { loopModel } from '../support/made-models.js';

/** The loop of a runner in this process, on the real runtime and an endless model. */

let runtime: Runtime | undefined;
afterEach(async () => {
  await runtime?.close();
  runtime = undefined;
});

class Outbox {
  readonly messages: RunnerMessage[] = [];
  onMessage: (message: RunnerMessage) => void = () => undefined;
  #wake: () => void = () => undefined;

  send = (message: RunnerMessage): void => {
    this.messages.push(message);
    this.onMessage(message);
    this.#wake();
  };

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  of(id: number): RunnerMessage[] {
    return this.messages.filter((message) => 'id' in message && message.id === id);
  }

  ended(id: number): RunnerMessage | undefined {
    return this.of(id).find(({ type }) => type === 'done' || type === 'failed');
  }
}

async function open(options: {
  rows: number;
  contextTokens: number;
}): Promise<{ sequences: Sequences; outbox: Outbox }> {
  runtime = await openRuntime({ type: 'load', modelPath: loopModel(), threads: 1, ...options }, () => undefined);
  const outbox = new Outbox();
  return { sequences: new Sequences(runtime, outbox.send), outbox };
}

function order(id: number, extra: Partial<GenerateOrder> = {}): GenerateOrder {
  return {
    type: 'generate',
    id,
    messages: [{ role: 'user', content: 'go' }],
    sampling: GREEDY,
    stop: [],
    ...extra,
  };
}

const texts = (messages: readonly RunnerMessage[]) => messages.filter(({ type }) => type === 'text').length;

test('after a cancel at most one more token is written, and the row is free before the end is told', async () => {
  const { sequences, outbox } = await open({ rows: 1, contextTokens: 512 });
  let writtenAtCancel = 0;
  outbox.onMessage = (message) => {
    if (message.type !== 'text' || texts(outbox.messages) !== 10) return;
    sequences.cancel(1);
    writtenAtCancel = 10;
  };
  sequences.start(order(1));
  await outbox.until(() => outbox.ended(1) !== undefined);
  const end = outbox.ended(1);
  expect(end).toMatchObject({ type: 'failed', code: 'cancelled' });
  expect(texts(outbox.messages)).toBeLessThanOrEqual(writtenAtCancel + 1);

  outbox.onMessage = () => undefined;
  sequences.start(order(2, { maxTokens: 3 })); // there is one row only
  await outbox.until(() => outbox.ended(2) !== undefined);
  expect(outbox.ended(2)).toMatchObject({ type: 'done', completionTokens: 3 });
});

test('a row whose reader takes nothing stands still after the read-ahead, and goes on when it reads', async () => {
  const { sequences, outbox } = await open({ rows: 2, contextTokens: 512 });
  sequences.start(order(1, { maxTokens: READ_AHEAD * 2 }));
  sequences.start(order(2, { maxTokens: 300 }));
  outbox.onMessage = (message) => {
    if (message.type === 'text' && message.id === 2) sequences.acknowledge(2, 1);
  };
  await outbox.until(() => outbox.ended(2) !== undefined); // the other stream is not held up
  expect(texts(outbox.of(1))).toBe(READ_AHEAD);
  expect(outbox.ended(1)).toBeUndefined();
  sequences.acknowledge(1, READ_AHEAD);
  await outbox.until(() => outbox.ended(1) !== undefined);
  expect(outbox.ended(1)).toMatchObject({ type: 'done', finishReason: 'length', completionTokens: READ_AHEAD * 2 });
});

test('an answer without a bound ends with the context, exactly', async () => {
  const { sequences, outbox } = await open({ rows: 1, contextTokens: 256 });
  outbox.onMessage = (message) => {
    if (message.type === 'text') sequences.acknowledge(1, 1);
  };
  sequences.start(order(1));
  await outbox.until(() => outbox.ended(1) !== undefined);
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
  await outbox.until(() => outbox.ended(1) !== undefined);
  const end = outbox.ended(1);
  const frame = end?.type === 'done' ? end.promptTokens : 0;
  const room = (runtime?.facts.contextTokens ?? 0) - frame;
  const content = (tokens: number) => [{ role: 'user', content: '!'.repeat(tokens) }]; // one token each: no merges

  sequences.start(order(2, { messages: content(room - 1) }));
  await outbox.until(() => outbox.ended(2) !== undefined);
  expect(outbox.ended(2)).toMatchObject({ type: 'done', completionTokens: 1, finishReason: 'length' });

  sequences.start(order(3, { messages: content(room) }));
  expect(outbox.ended(3)).toMatchObject({
    type: 'failed',
    code: 'context_length_exceeded',
    message: `The prompt has ${frame + room} tokens and exceeds the context length of ${frame + room} tokens.`,
  });
});

test('a cancel in a long prompt ends it without a word of answer', async () => {
  const { sequences, outbox } = await open({ rows: 1, contextTokens: 4096 });
  outbox.onMessage = (message) => {
    if (message.type === 'started') sequences.cancel(1);
  };
  sequences.start(order(1, { messages: [{ role: 'user', content: '!'.repeat(3000) }] }));
  await outbox.until(() => outbox.ended(1) !== undefined);
  expect(outbox.ended(1)).toMatchObject({ type: 'failed', code: 'cancelled', completionTokens: 0 });
  expect(texts(outbox.messages)).toBe(0);
});

test('streams that start at different times end with the same text as alone', async () => {
  const { sequences, outbox } = await open({ rows: 3, contextTokens: 512 });
  outbox.onMessage = (message) => {
    if (message.type !== 'text') return;
    sequences.acknowledge(message.id, 1);
    if (message.id === 1 && texts(outbox.of(1)) === 5) sequences.start(order(2, { maxTokens: 40 }));
    if (message.id === 2 && texts(outbox.of(2)) === 5) sequences.start(order(3, { maxTokens: 40 }));
  };
  sequences.start(order(1, { maxTokens: 40 }));
  await outbox.until(() => [1, 2, 3].every((id) => outbox.ended(id) !== undefined));
  const answers = [1, 2, 3].map((id) =>
    outbox
      .of(id)
      .map((message) => (message.type === 'text' ? message.text : ''))
      .join(''),
  );
  expect(new Set(answers).size).toBe(1);
});
