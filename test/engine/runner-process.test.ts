import { execFile } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { environment } from '../../src/config.js';
import { RunnerProcess } from '../../src/engine/runner-process.js';
import { GREEDY, PLAIN, type ChatEvent, type ChatRequest } from '../../src/inference/types.js';
import { silentLog } from '../../src/log.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { eventually } from '../support/eventually.js';
import { loopModel, sayModel } from '../support/made-models.js';
import { ManualClock } from '../support/manual-clock.js';
import { argumentsOf, descendantsOf, hasProc } from '../support/processes.js';

const PATH = environment['PATH'] ?? '';
const SILENCE_MS = 60_000;
const never = new AbortController().signal;

function start(modelPath: string, signal: AbortSignal = never, clock = new ManualClock()): Promise<RunnerProcess> {
  return RunnerProcess.start(
    { type: 'load', modelPath, rows: 1, contextTokens: 256, threads: 1 },
    { environment: { PATH }, longestSilenceMs: SILENCE_MS, clock, log: silentLog(), signal },
  );
}

const chat = (extra: Partial<ChatRequest> = {}): ChatRequest => ({
  model: 'any',
  messages: [{ role: 'user', content: 'go' }],
  sampling: GREEDY,
  stop: [],
  ...PLAIN,
  ...extra,
});

const generate = (runner: RunnerProcess, extra?: Partial<ChatRequest>, signal = never) =>
  runner.generate(chat(extra), signal, () => undefined);

async function read(events: AsyncIterable<ChatEvent>): Promise<string> {
  let text = '';
  for await (const event of events) if (event.type === 'text') text += event.text;
  return text;
}

async function untilText(events: AsyncGenerator<ChatEvent>): Promise<void> {
  for (let next = await events.next(); next.done !== true; next = await events.next()) {
    if (next.value.type === 'text') return;
  }
}

/** Every runner of this process stands still. */
function stopRunners(): void {
  const isRunner = (pid: number) => argumentsOf(pid).some((argument) => argument.endsWith('runner/main.js'));
  for (const pid of descendantsOf(process.pid).filter(isRunner)) process.kill(pid, 'SIGSTOP');
}

test('the signal of a load is listened to only until the load has ended, well or not', async () => {
  const { signal } = new AbortController();
  const runner = await start(sayModel(), signal);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  await runner.close();
  await expect(start('/nowhere/model.gguf', signal)).rejects.toMatchObject({ code: 'model_corrupt' });
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('a load that is given up ends its process', async () => {
  const abort = new AbortController();
  const loading = start(sayModel(), abort.signal);
  abort.abort();
  await expect(loading).rejects.toMatchObject({ code: 'cancelled' });
});

test('a runner says what it takes with the model in it', async () => {
  const runner = await start(sayModel());
  expect(runner.facts).toMatchObject({ device: expect.any(String) as string, gpuLayers: expect.any(Number) as number });
  expect(runner.memoryBytes).toBe(runner.facts.memoryBytes);
  await runner.close();
});

test('an order that cannot be read is refused alone', async () => {
  const runner = await start(sayModel());
  await expect(read(generate(runner, { topLogprobs: 99 }))).rejects.toMatchObject({ code: 'internal' });
  const counting = runner.operate({ op: 'count', request: chat({ topLogprobs: 99 }) }, never);
  await expect(counting).rejects.toMatchObject({ code: 'internal' });
  expect(await read(generate(runner, { maxTokens: 1 }))).toBe('Hello');
  await runner.close();
});

describe.runIf(hasProc)('a runner that lives and does nothing', () => {
  test('does not hold up the load for ever', async () => {
    const clock = new ManualClock();
    const loading = start(sayModel(), never, clock);
    stopRunners();
    clock.turn(SILENCE_MS);
    await expect(loading).rejects.toMatchObject({
      code: 'runner_died',
      message: 'The runner ended while it loaded the model: it did nothing for 60 s.',
    });
    expect(clock.pending).toBe(0);
  });

  test('loses what it was to write and to count', async () => {
    const clock = new ManualClock();
    const runner = await start(loopModel(), never, clock);
    const events = generate(runner);
    await untilText(events);
    stopRunners();
    const failed = Promise.all(
      [read(events), runner.operate({ op: 'count', request: chat() }, never)].map((each) =>
        each.then(
          () => undefined,
          (error: unknown) => error,
        ),
      ),
    );
    let errors: unknown[] | undefined;
    void failed.then((all) => (errors = all));
    await eventually('all have failed', () => {
      clock.turn(SILENCE_MS); // what was sent before the stop may still come in
      return errors;
    });
    expect(errors).toMatchObject([{ code: 'runner_died' }, { code: 'runner_died' }]);
    await runner.exited;
  });

  test('because its only reader reads nothing is left in peace', async () => {
    const clock = new ManualClock();
    const runner = await start(loopModel(), never, clock);
    const events = generate(runner, { maxTokens: 150 });
    await untilText(events);
    clock.turn(100 * SILENCE_MS);
    expect(await read(events)).toContain('One two three');
    clock.turn(100 * SILENCE_MS); // nothing to do
    await runner.close();
  });
});

test('where no process can be started for want of files, the request fails and the program lives', async () => {
  const program = `
    const { openSync } = await import('node:fs');
    const { RunnerProcess } = await import('${join(PACKAGE_ROOT, 'dist/engine/runner-process.js')}');
    const { silentLog } = await import('${join(PACKAGE_ROOT, 'dist/log.js')}');
    const { systemClock: clock } = await import('${join(PACKAGE_ROOT, 'dist/util/clock.js')}');
    const order = { type: 'load', modelPath: '/nowhere.gguf', rows: 1, contextTokens: 256 };
    const { signal } = new AbortController();
    const log = silentLog();
    try { for (;;) openSync('/dev/null'); } catch {}
    RunnerProcess.start(order, { environment: {}, longestSilenceMs: 1e6, clock, log, signal }).catch((error) => {
      console.log(error.code, error.message);
      process.exit(0);
    });`;
  const run = ['-c', 'ulimit -n 256 && exec "$0" --input-type=module -e "$1"', process.execPath, program];
  const { stdout } = await promisify(execFile)('bash', run);
  expect(stdout).toMatch(/^runner_died The runner ended while it loaded the model: spawn \S+ EMFILE\.$/mu);
});
