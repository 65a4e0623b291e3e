import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { environment } from '../../src/config.js';
import { WAITING_PER_ROW } from '../../src/engine/admission.js';
import type { MemoryBudget } from '../../src/engine/memory-budget.js';
import type { EngineModel } from '../../src/engine/model-seat.js';
import { OWNER_WAIT_MS, STRANGER_WAIT_MS } from '../../src/engine/model-slot.js';
import { ModelPool } from '../../src/engine/pool.js';
import { footprint } from '../../src/inference/footprint.js';
import { GREEDY, PLAIN, type ChatEvent, type ChatRequest } from '../../src/inference/types.js';
import { readGguf } from '../../src/models/gguf.js';
import { eventually } from '../support/eventually.js';
import { loopModel, sayModel } from '../support/made-models.js';
import { ManualClock } from '../support/manual-clock.js';
import { argumentsOf, descendantsOf, hasProc } from '../support/processes.js';
import { RecordedLog } from '../support/recorded-log.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

/** The engine on real runners, with tiny models and a clock that the test turns. */

const CONTEXT = 512;
const GIB = 1024 ** 3;
const MINUTE = 60_000;
/** More tokens than any test reads. */
const ENDLESS = 400;

type PoolOptions = ConstructorParameters<typeof ModelPool>[1];

let pool: ModelPool | undefined;
afterEach(() => pool?.close());

async function modelAt(alias: string, path: string): Promise<EngineModel> {
  const { shape, trainedContextTokens } = await readGguf(path);
  return { id: `local/${alias}`, alias, path, shape, trainedContextTokens, maxOutputTokens: CONTEXT };
}

const set = (limitBytes: number): MemoryBudget => ({ limitBytes, from: 'setting', tryBytes: limitBytes });
const estimated = (limitBytes: number): MemoryBudget => ({ limitBytes, from: 'machine', tryBytes: GIB });

/** The models `say` and `loop`, and memory for one of them, unless told otherwise. */
async function play(options: Partial<PoolOptions> = {}, sayPath = sayModel()) {
  const models = [{ ...(await modelAt('say', sayModel())), path: sayPath }, await modelAt('loop', loopModel())];
  const largest = Math.max(...models.map(({ shape }) => footprint(shape, 1, CONTEXT).totalBytes));
  const clock = new ManualClock();
  const log = new RecordedLog();
  pool = new ModelPool(models, {
    rows: 1,
    contextTokens: CONTEXT,
    parameters: { threads: 1 },
    environment: { PATH: environment['PATH'] ?? '' },
    budget: set(Math.ceil(largest * 1.05)),
    idleUnloadMs: 0,
    clock,
    log: log.log,
    ...options,
  });
  return { engine: pool, clock, log };
}

interface Asked {
  model: string;
  tokens?: number;
  owner?: boolean;
}

function ask(engine: ModelPool, { model, tokens = 3, owner = true }: Asked, signal = new AbortController().signal) {
  const request: ChatRequest = {
    model,
    messages: [{ role: 'user', content: 'go' }],
    sampling: GREEDY,
    stop: [],
    ...PLAIN,
    maxTokens: tokens,
    owner,
  };
  return engine.generate(request, signal);
}

async function read(events: AsyncIterable<ChatEvent>): Promise<string> {
  let text = '';
  for await (const event of events) {
    if (event.type === 'text') text += event.text;
    if (event.type === 'cancelled') text += '(cancelled)';
  }
  return text;
}

const textOf = (engine: ModelPool, asked: Asked, signal?: AbortSignal) => read(ask(engine, asked, signal));

/** A request that has begun to write, and writes until it is ended. */
async function busy(engine: ModelPool, model: string, owner = true) {
  const abort = new AbortController();
  const events = ask(engine, { model, owner, tokens: ENDLESS }, abort.signal);
  let type: ChatEvent['type'];
  do {
    const next = await events.next();
    ({ type } = next.done === true ? expect.fail('it ended before its first text') : next.value);
  } while (type !== 'text');
  return async () => {
    abort.abort();
    await read(events);
  };
}

function slotOf(engine: ModelPool, alias: string) {
  return engine.snapshot().find(({ id }) => id === `local/${alias}`) ?? expect.fail(`no model ${alias}`);
}

const until = (engine: ModelPool, alias: string, state: string) =>
  eventually(`${alias} is ${state}`, () => slotOf(engine, alias).state === state || undefined);

/** How often a model was loaded. */
const loadsIn = (log: RecordedLog) => log.text.split('"model loaded"').length - 1;

describe('two models and memory for one', () => {
  costly('asked at once are served one after the other', async () => {
    const { engine } = await play();
    const answers = [textOf(engine, { model: 'say' }), textOf(engine, { model: 'loop' })];
    expect(await Promise.all(answers)).toEqual(['Hello there, this', 'One two three']);
    expect(engine.usedBytes).toBeLessThanOrEqual(engine.memoryLimitBytes);
    expect(engine.snapshot().map(({ state }) => state)).toEqual(['absent', 'ready']);
  });

  costly('take turns: one that is idle makes room, and comes back when it is asked again', async () => {
    const { engine, log } = await play();
    for (const model of ['say', 'loop', 'say']) await textOf(engine, { model });
    expect(engine.snapshot().map(({ state }) => state)).toEqual(['ready', 'absent']);
    expect(loadsIn(log)).toBe(3);
  });

  costly('the second waits until the first has nothing to do, then takes its place', async () => {
    const { engine } = await play();
    const endLoop = await busy(engine, 'loop');
    const say = textOf(engine, { model: 'say' });
    await until(engine, 'say', 'waiting');
    await endLoop();
    expect(await say).toBe('Hello there, this');
    expect(slotOf(engine, 'loop').state).toBe('absent');
  });

  costly('what comes to the first after the second was asked waits for its turn, so that neither starves', async () => {
    const { engine } = await play();
    const endLoop = await busy(engine, 'loop');
    const order: string[] = [];
    const say = textOf(engine, { model: 'say' }).then(() => order.push('say'));
    await until(engine, 'say', 'waiting');
    const loop = textOf(engine, { model: 'loop' }).then(() => order.push('loop'));
    await endLoop();
    await Promise.all([say, loop]);
    expect(order).toEqual(['say', 'loop']);
  });

  costly("a stranger's model does not hold up the owner's requests to the other", async () => {
    const { engine } = await play({ rows: 2, maxLoadedModels: 1, budget: set(GIB) });
    const endLoop = await busy(engine, 'loop');
    const say = textOf(engine, { model: 'say', owner: false });
    await until(engine, 'say', 'waiting');
    expect(await textOf(engine, { model: 'loop', owner: true })).toBe('One two three');
    const strange = textOf(engine, { model: 'loop', owner: false });
    await eventually('the stranger waits', () => slotOf(engine, 'loop').waiting === 1 || undefined);
    await endLoop();
    expect(await Promise.all([say, strange])).toEqual(['Hello there, this', 'One two three']);
  });

  costly('a client that leaves while its model waits for memory leaves nothing behind', async () => {
    const { engine, log } = await play();
    const endLoop = await busy(engine, 'loop');
    const abort = new AbortController();
    const say = textOf(engine, { model: 'say' }, abort.signal);
    await until(engine, 'say', 'waiting');
    abort.abort();
    expect(await say).toBe('(cancelled)');
    await until(engine, 'say', 'absent');
    expect(slotOf(engine, 'say').running).toBe(0);
    const next = textOf(engine, { model: 'loop' }); // not held up any more
    await endLoop();
    expect(await next).toBe('One two three');
    expect(loadsIn(log)).toBe(1);
  });

  test.each([
    ['the owner', true, OWNER_WAIT_MS],
    ['a stranger', false, STRANGER_WAIT_MS],
  ])('for memory %s waits so long and no longer, and hears when to come again', async (_, owner, ms) => {
    const { engine, clock } = await play();
    await textOf(engine, { model: 'loop', tokens: 12 }); // so that the speed is known
    const endLoop = await busy(engine, 'loop');
    const say = textOf(engine, { model: 'say', owner }).catch((error: unknown) => error);
    await until(engine, 'say', 'waiting');
    clock.turn(ms - 1);
    expect(slotOf(engine, 'say').state).toBe('waiting');
    clock.turn(1);
    const error = await say;
    expect(error).toMatchObject({
      code: 'insufficient_memory',
      retryAfterS: expect.any(Number) as number,
      message: expect.stringMatching(
        /^insufficient memory to load model 'say': it needs 0\.2 GiB, 0\.1 of 0\.2 GiB are free and busy models keep the rest\.$/u,
      ) as string,
    });
    await until(engine, 'say', 'absent');
    await endLoop();
  });
});

describe('the waiting line of a model', () => {
  costly('is bounded: one more is refused with the time to come again, but the owner is let in', async () => {
    const { engine } = await play();
    const endLoop = await busy(engine, 'loop', false);
    const asked = { model: 'loop', owner: false };
    const patience = Array.from({ length: WAITING_PER_ROW }, () => new AbortController());
    const waiting = patience.map(({ signal }) => textOf(engine, asked, signal).catch((error: unknown) => error));
    await eventually('the line is full', () => slotOf(engine, 'loop').waiting === WAITING_PER_ROW || undefined);
    await expect(textOf(engine, asked)).rejects.toMatchObject({ code: 'over_capacity', retryAfterS: 5 });
    const owner = textOf(engine, { model: 'loop' });
    expect(await waiting.at(-1)).toMatchObject({ code: 'over_capacity' });
    await endLoop();
    expect(await owner).toBe('One two three');
    for (const each of patience) each.abort();
    await Promise.all(waiting);
    await engine.idle();
    expect(slotOf(engine, 'loop')).toMatchObject({ running: 0, waiting: 0 });
  });

  costly('is left after a while by who got no row', async () => {
    const { engine, clock } = await play();
    const endLoop = await busy(engine, 'loop');
    const second = textOf(engine, { model: 'loop', owner: false }).catch((error: unknown) => error);
    await eventually('it waits', () => slotOf(engine, 'loop').waiting === 1 || undefined);
    clock.turn(STRANGER_WAIT_MS);
    expect(await second).toMatchObject({
      code: 'over_capacity',
      message: 'None of the 1 slots of loop became free within 60 s.',
    });
    await endLoop();
  });

  costly('may be left by a reader that only heard that it was accepted', async () => {
    const { engine } = await play();
    const endLoop = await busy(engine, 'loop');
    const events = ask(engine, { model: 'loop' });
    expect((await events.next()).value).toEqual({ type: 'accepted' });
    expect(slotOf(engine, 'loop').waiting).toBe(1);
    await events.return(undefined);
    expect(slotOf(engine, 'loop').waiting).toBe(0);
    await endLoop();
  });
});

costly('an answer of one token says nothing of the speed, one of twelve does', async () => {
  const { engine } = await play();
  await textOf(engine, { model: 'loop', tokens: 1 });
  expect(slotOf(engine, 'loop').decodeTps).toBeUndefined();
  await textOf(engine, { model: 'loop', tokens: 12 });
  expect(slotOf(engine, 'loop').decodeTps).toBeGreaterThan(0);
});

costly('a storm of requests to a cold model loads it once', async () => {
  const { engine, log } = await play({ rows: 2 });
  const answers = Array.from({ length: 8 }, () => textOf(engine, { model: 'say' }));
  expect(new Set(await Promise.all(answers))).toEqual(new Set(['Hello there, this']));
  expect(loadsIn(log)).toBe(1);
});

costly(
  'a model that came after the start is served like the others, and one that is here is not replaced',
  async () => {
    const { engine } = await play();
    const before = engine.find('say');
    engine.add(await modelAt('late', sayModel()));
    engine.add(await modelAt('say', loopModel()));
    expect(await textOf(engine, { model: 'late' })).toBe(await textOf(engine, { model: 'say' }));
    expect(engine.find('say')).toBe(before);
    expect(engine.models.map(({ alias }) => alias)).toEqual(['say', 'loop', 'late']);
  },
);

costly('no more models than may be are in memory, however much is free', async () => {
  const { engine } = await play({ budget: set(GIB), maxLoadedModels: 1 });
  await textOf(engine, { model: 'say' });
  await textOf(engine, { model: 'loop' });
  expect(engine.snapshot().map(({ state }) => state)).toEqual(['absent', 'ready']);
});

costly('what a model really takes is learned, and counts from then on', async () => {
  const { engine } = await play();
  const before = slotOf(engine, 'say');
  expect(before).toMatchObject({ isMeasured: false, bytes: before.predicted.totalBytes });
  await textOf(engine, { model: 'say' });
  const loaded = slotOf(engine, 'say');
  expect(loaded.isMeasured).toBe(true);
  expect(loaded.bytes).toBeGreaterThan(32 * 1024 ** 2); // Node alone takes more
  expect(loaded.bytes).not.toBe(before.bytes);
  expect(engine.usedBytes).toBe(loaded.bytes);
  await textOf(engine, { model: 'loop' }); // takes its place
  expect(slotOf(engine, 'say')).toMatchObject({ state: 'absent', isMeasured: true });
  expect(slotOf(engine, 'say').bytes).toBeGreaterThanOrEqual(loaded.bytes);
});

describe('a model that does not fit by the estimate', () => {
  costly(
    "is tried for the owner where the estimate is only the machine's, and refused to others with the sum",
    async () => {
      const { engine } = await play({ budget: estimated(1) });
      await expect(textOf(engine, { model: 'say', owner: false })).rejects.toMatchObject({
        code: 'insufficient_memory',
        retryAfterS: undefined,
        message: expect.stringMatching(
          /needs 0\.2 GiB, 0\.0 of 0\.0 GiB are free \(the limit is what this machine lets models have\)\.$/u,
        ) as string,
      });
      expect(await textOf(engine, { model: 'say' })).toBe('Hello there, this');
    },
  );

  costly('takes the place of idle ones when it is tried', async () => {
    const { engine } = await play({ budget: estimated(1) });
    await textOf(engine, { model: 'say' });
    expect(await textOf(engine, { model: 'loop' })).toBe('One two three');
    expect(slotOf(engine, 'say').state).toBe('absent');
  });

  costly("is refused to the owner too where the limit is the owner's word", async () => {
    const { engine } = await play({ budget: set(1) });
    await expect(textOf(engine, { model: 'say' })).rejects.toMatchObject({
      code: 'insufficient_memory',
      message: expect.stringContaining('(the limit is engine.memory_limit_gb)') as string,
    });
  });
});

describe('a model that nobody asks', () => {
  costly('gives its memory back after the time that was set, counted from its last request', async () => {
    const { engine, clock } = await play({ idleUnloadMs: 30 * MINUTE });
    await textOf(engine, { model: 'say' });
    clock.turn(20 * MINUTE);
    await textOf(engine, { model: 'say' });
    expect(slotOf(engine, 'say').unloadsAt).toBe(clock.now() + 30 * MINUTE);
    clock.turn(30 * MINUTE - 1);
    expect(slotOf(engine, 'say').state).toBe('ready');
    clock.turn(1);
    await until(engine, 'say', 'absent');
    expect(await textOf(engine, { model: 'say' })).toBe('Hello there, this');
  });

  costly('stays while one request runs however long', async () => {
    const { engine, clock } = await play({ idleUnloadMs: MINUTE });
    const end = await busy(engine, 'loop');
    clock.turn(60 * MINUTE);
    expect(slotOf(engine, 'loop')).toMatchObject({ state: 'ready', unloadsAt: undefined });
    await end();
    clock.turn(MINUTE);
    await until(engine, 'loop', 'absent');
  });

  costly('goes as well when its coordinator had it loaded and nobody came', async () => {
    const { engine, clock } = await play({ idleUnloadMs: MINUTE });
    await engine.load('say');
    clock.turn(MINUTE);
    await until(engine, 'say', 'absent');
  });

  costly('stays when that is what was set', async () => {
    const { engine, clock } = await play({ idleUnloadMs: 0 });
    await textOf(engine, { model: 'say' });
    clock.turn(7 * 24 * 60 * MINUTE);
    expect(slotOf(engine, 'say')).toMatchObject({ state: 'ready', unloadsAt: undefined });
  });
});

describe('a model that is kept', () => {
  costly('is loaded at the start, and is neither idle for too long nor in the way of others', async () => {
    const { engine, clock } = await play({ keepLoaded: ['say'], idleUnloadMs: MINUTE });
    engine.loadKept();
    await until(engine, 'say', 'ready');
    clock.turn(60 * MINUTE);
    await expect(textOf(engine, { model: 'loop' })).rejects.toMatchObject({
      code: 'insufficient_memory',
      message: expect.stringContaining('models.keep_loaded keeps 1 of the models there') as string,
    });
    expect(slotOf(engine, 'say')).toMatchObject({ state: 'ready', pinned: true });
  });

  costly('has its place even before it is there', async () => {
    const { engine } = await play({ keepLoaded: ['say'] });
    await expect(textOf(engine, { model: 'loop', owner: false })).rejects.toMatchObject({
      code: 'insufficient_memory',
    });
    expect(await textOf(engine, { model: 'say' })).toBe('Hello there, this');
  });

  test.runIf(hasProc)('is loaded again a while after its runner died', async () => {
    const { engine, clock, log } = await play({ keepLoaded: ['say'] });
    engine.loadKept();
    await until(engine, 'say', 'ready');
    const isRunner = (pid: number) => argumentsOf(pid).some((argument) => argument.endsWith('runner/main.js'));
    for (const pid of descendantsOf(process.pid).filter(isRunner)) process.kill(pid, 'SIGKILL');
    await until(engine, 'say', 'absent');
    expect(loadsIn(log)).toBe(1);
    clock.turn(5_000);
    await eventually('it was loaded again', () => loadsIn(log) === 2 || undefined);
    expect(await textOf(engine, { model: 'say' })).toBe('Hello there, this');
  });

  costly('comes when what kept it from being loaded is gone', async () => {
    using home = new TemporaryHome();
    const path = join(home.home.folder, 'late.gguf');
    const { engine, clock, log } = await play({ keepLoaded: ['say'] }, path);
    engine.loadKept();
    await eventually('it failed', () => log.text.includes('a model that is to be kept loaded is not') || undefined);
    copyFileSync(sayModel(), path);
    clock.turn(5_000);
    await until(engine, 'say', 'ready');
  });

  test('that does not fit with the others stops the start, with the sums', async () => {
    await expect(play({ keepLoaded: ['say', 'loop'] })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(
        /these models do not fit together: say 0\.2 GiB \+ loop 0\.2 GiB = 0\.3 GiB, and all models may take 0\.2 GiB/u,
      ) as string,
    });
  });
});

describe('how a model is loaded', () => {
  test.each<[string, PoolOptions['parameters']]>([
    ['a cache of half the size', { kvType: 'q8_0' }],
    ['a cache of a quarter', { kvType: 'q4_0', flashAttention: 'on' }],
    ['no flash attention', { flashAttention: 'off' }],
    ['all on the CPU', { gpuLayers: 0 }],
    ['copied and locked weights', { mmap: 'off', mlock: true }],
  ])('%s: it answers the same', async (_, parameters) => {
    const { engine } = await play({ parameters: { threads: 1, ...parameters } });
    expect(await textOf(engine, { model: 'say' })).toBe('Hello there, this');
  });

  test('a smaller cache is predicted to take less', async () => {
    const kvBytes = async (kvType: 'f16' | 'q8_0' | 'q4_0') =>
      slotOf((await play({ parameters: { kvType } })).engine, 'say').predicted.kvBytes;
    const full = await kvBytes('f16');
    expect(await kvBytes('q8_0')).toBe((full * 34) / 64);
    expect(await kvBytes('q4_0')).toBe((full * 18) / 64);
  });

  test('a cache that cannot be cut into blocks is refused, naming the setting and the sizes', async () => {
    const model = await modelAt('odd', sayModel());
    pool = new ModelPool([{ ...model, shape: { ...model.shape, keyLength: 80, valueLength: 80 } }], {
      ...{ rows: 1, contextTokens: CONTEXT, environment: {}, budget: set(GIB), idleUnloadMs: 0 },
      parameters: { kvType: 'q8_0' },
      clock: new ManualClock(),
      log: new RecordedLog().log,
    });
    await expect(textOf(pool, { model: 'odd' })).rejects.toMatchObject({
      code: 'not_supported',
      message:
        'engine.kv_type: q8_0 needs heads of a multiple of 32 values; odd has heads of 80 and 80. Set engine.kv_type to f16.',
    });
    expect(slotOf(pool, 'odd').state).toBe('absent');
  });
});
