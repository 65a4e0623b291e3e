import { afterAll, beforeAll, expect, test } from 'vitest';
import { environment } from '../../src/config.js';
import type { EngineModel } from '../../src/engine/model-seat.js';
import { ModelPool } from '../../src/engine/pool.js';
import type { Operation, OperationEvent } from '../../src/inference/operations.js';
import { GREEDY, PLAIN, type ChatEvent, type ChatRequest } from '../../src/inference/types.js';
import { readGguf } from '../../src/models/gguf.js';
import { eventually } from '../support/eventually.js';
import { loopModel, vectorModel } from '../support/made-models.js';
import { ManualClock } from '../support/manual-clock.js';
import { argumentsOf, descendantsOf, hasProc } from '../support/processes.js';
import { RecordedLog } from '../support/recorded-log.js';

/** Operations on real runners. Each model has one row. */

const CONTEXT = 512;
const MEMORY_BYTES = 8 * 1024 ** 3;
const never = () => new AbortController().signal;

let engine: ModelPool;
beforeAll(async () => {
  engine = new ModelPool([await modelAt('loop', loopModel()), await modelAt('vectors', vectorModel())], {
    rows: 1,
    contextTokens: CONTEXT,
    parameters: { threads: 1 },
    environment: { PATH: environment['PATH'] ?? '' },
    budget: { limitBytes: MEMORY_BYTES, from: 'setting', tryBytes: MEMORY_BYTES },
    idleUnloadMs: 0,
    clock: new ManualClock(),
    log: new RecordedLog().log,
  });
});
afterAll(() => engine.close());

async function modelAt(alias: string, path: string): Promise<EngineModel> {
  const { shape, trainedContextTokens, task } = await readGguf(path);
  const made = { id: `local/${alias}`, alias, path, shape, trainedContextTokens, maxOutputTokens: CONTEXT };
  return { ...made, ...(task === undefined ? {} : { task }) };
}

const chat = (model: string, content = 'go'): ChatRequest => ({
  model,
  messages: [{ role: 'user', content }],
  sampling: GREEDY,
  stop: [],
  ...PLAIN,
  owner: true,
});
const count = (model = 'loop', content?: string): Operation => ({ op: 'count', request: chat(model, content) });
const embed = (inputs: string[], model = 'vectors'): Operation => ({
  op: 'embed',
  request: { model, inputs, owner: true },
});

async function last(events: AsyncIterable<OperationEvent>): Promise<OperationEvent | undefined> {
  let event: OperationEvent | undefined;
  for await (event of events);
  return event;
}

/** An answer that has begun to write, and writes until its reader leaves. */
async function busy(): Promise<AsyncGenerator<ChatEvent>> {
  const events = engine.generate(chat('loop'), never());
  for (let type = ''; type !== 'text';) {
    const next = await events.next();
    type = next.done === true ? expect.fail('it ended before its first text') : next.value.type;
  }
  return events;
}

const slotOf = (alias: string) => engine.snapshot().find(({ id }) => id === `local/${alias}`);

test('a prompt is counted while all rows are busy, and the count is what an answer says', async () => {
  const answer = await busy();
  expect(slotOf('loop')?.running).toBe(1);
  const counted = await last(engine.operate(count(), never()));
  expect(slotOf('loop')).toMatchObject({ running: 1, waiting: 0 });
  await answer.return(undefined);
  let promptTokens: number | undefined;
  for await (const event of engine.generate({ ...chat('loop'), maxTokens: 1 }, never())) {
    if (event.type === 'started') ({ promptTokens } = event);
  }
  expect(counted).toEqual({ type: 'result', result: { op: 'count', promptTokens } });
});

test('at most 64 prompts of a model are counted at once', async () => {
  const counting = Array.from({ length: 64 }, () => engine.operate(count(), never()));
  for (const events of counting) expect((await events.next()).value).toEqual({ type: 'accepted' });
  await expect(last(engine.operate(count(), never()))).rejects.toMatchObject({
    code: 'over_capacity',
    message: expect.stringContaining('queue full: 64 prompts of loop') as string,
  });
  await Promise.all(counting.map(last));
  expect(await last(engine.operate(count(), never()))).toMatchObject({ type: 'result' });
  expect(engine.running).toBe(0);
});

test('a prompt that its bytes alone show to be too long is refused with a lower bound', async () => {
  await expect(last(engine.operate(count('loop', 'x'.repeat(100_000)), never()))).rejects.toMatchObject({
    code: 'context_length_exceeded',
    message: expect.stringMatching(/at least \d+ tokens and exceeds the context length of 512/u) as string,
  });
});

test('vectors take a row: the next ones wait for it', async () => {
  const first = engine.operate(embed(['a']), never());
  await first.next();
  const second = engine.operate(embed(['a']), never());
  await second.next();
  expect(slotOf('vectors')).toMatchObject({ running: 1, waiting: 1 });
  const [one, other] = await Promise.all([last(first), last(second)]);
  expect(one).toEqual(other);
  expect(slotOf('vectors')).toMatchObject({ running: 0, waiting: 0 });
});

test.each([
  ['at once', count()],
  ['while vectors are made', embed(Array.from({ length: 2_000 }, (_, index) => `text ${index}`))],
])('an operation that is cancelled %s ends, and leaves nothing behind', async (_, operation) => {
  if (operation.op === 'embed') await last(engine.operate(embed(['a']), never())); // the model is there
  const leaving = new AbortController();
  const events = engine.operate(operation, leaving.signal);
  await events.next();
  const ended = last(events);
  leaving.abort();
  await expect(ended).rejects.toThrow();
  expect(engine.running).toBe(0);
  expect(slotOf('vectors')).toMatchObject({ running: 0, waiting: 0 });
});

test.skipIf(!hasProc)('a runner that dies fails the operation, and the next one has a new runner', async () => {
  const events = engine.operate(embed(Array.from({ length: 2_000 }, (_, index) => `text ${index}`)), never());
  await events.next();
  const ended = last(events);
  const isRunner = (pid: number) => argumentsOf(pid).some((argument) => argument.endsWith('runner/main.js'));
  await eventually('the model is loaded', () => slotOf('vectors')?.state === 'ready' || undefined);
  for (const pid of descendantsOf(process.pid).filter(isRunner)) process.kill(pid, 'SIGKILL');
  await expect(ended).rejects.toMatchObject({ code: 'runner_died' });
  expect(await last(engine.operate(embed(['a']), never()))).toMatchObject({ type: 'result' });
});

test.each<[string, () => AsyncIterable<unknown>, string]>([
  ['an answer', () => engine.generate(chat('vectors'), never()), 'Name a chat model: this machine has loop.'],
  ['a count', () => engine.operate(count('vectors'), never()), 'Name a chat model: this machine has loop.'],
  [
    'vectors',
    () => engine.operate(embed(['a'], 'loop'), never()),
    'Name an embedding model: this machine has vectors.',
  ],
])('%s of a model that is for something else is refused, with what to use', async (_, ask, words) => {
  const asked = ask()[Symbol.asyncIterator]();
  await expect(asked.next()).rejects.toMatchObject({
    code: 'invalid_request',
    param: 'model',
    message: expect.stringContaining(words) as string,
  });
});
