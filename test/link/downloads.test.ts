import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { Downloads, MAX_WAITING_DOWNLOADS } from '../../src/link/downloads.js';
import { silentLog } from '../../src/log.js';
import type { ModelInfo } from '../../src/protocol/provider-messages.js';
import { ManualClock } from '../support/manual-clock.js';
import { RecordedConnection } from './recorded-connection.js';

const NEW = 'local/tiny-v2';
const info = (id: string): ModelInfo => ({ id, size_bytes: 1, model_type: 'text', quantization: 'F16' });

interface Fetching {
  build: string;
  told: (done: number, total: number) => void;
  signal: AbortSignal;
  come: () => void;
  fail: (error: Error) => void;
}

/** A machine with one model, whose downloads end when the test says so. */
function play({ follows = true, refuse = () => undefined }: { follows?: boolean; refuse?: () => void } = {}) {
  const clock = new ManualClock();
  const connection = new RecordedConnection();
  const fetched: Fetching[] = [];
  const models = [{ id: 'local/tiny-v1', alias: 'tiny' }];
  const fetch = (build: string, told: Fetching['told'], signal: AbortSignal) =>
    new Promise<ModelInfo>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
      const come = () => {
        models.push({ id: build, alias: 'tiny' });
        resolve(info(build));
      };
      fetched.push({ build, told, signal, come, fail: reject });
    });
  const downloads = new Downloads({ models, fetch: follows ? fetch : undefined, refuse, clock, log: silentLog() });
  downloads.heard(connection);
  const told = () =>
    connection.framesOf('prefetch_model_status').map(({ model_id, status }) => `${model_id} ${status}`);
  return { downloads, connection, clock, fetched, told };
}

const desired = (alias: string, build: string) => ({ model_name: alias, desired_build: build });

test('where the owner alone chooses, an order is declined with the reason, and a wish changes nothing', () => {
  const { downloads, connection, fetched } = play({ follows: false });
  downloads.order(NEW);
  downloads.desire([desired('tiny', NEW)]);
  expect(connection.frames).toEqual([
    {
      type: 'prefetch_model_status',
      model_id: NEW,
      status: 'failed',
      error: expect.stringContaining('the owner of this machine chooses') as string,
    },
  ]);
  expect(fetched).toEqual([]);
});

test('a build is fetched, told about on the way, and announced when it can be used', async () => {
  const { downloads, connection, clock, fetched } = play();
  downloads.order(NEW);
  fetched[0]?.told(40, 1_000); // less than a twentieth, and at once
  fetched[0]?.told(50, 1_000);
  fetched[0]?.told(60, 1_000);
  clock.turn(2_000);
  fetched[0]?.told(61, 1_000);
  fetched[0]?.come();
  await connection.until('models_update');
  const status = { type: 'prefetch_model_status', model_id: NEW };
  expect(connection.frames).toEqual([
    { ...status, status: 'started' },
    { ...status, status: 'downloading', bytes_done: 50, bytes_total: 1_000 },
    { ...status, status: 'downloading', bytes_done: 61, bytes_total: 1_000 },
    { ...status, status: 'verified' },
    { type: 'models_update', models: [info(NEW)] },
  ]);
  downloads.order(NEW);
  expect(connection.frames.at(-1)).toEqual({ ...status, status: 'verified' });
  expect(fetched).toHaveLength(1);
});

test('a download that fails is told with its reason, and the next one begins', async () => {
  const { downloads, connection, fetched, told } = play();
  downloads.order('local/a');
  downloads.order('local/b');
  downloads.order('local/b');
  expect(fetched.map(({ build }) => build)).toEqual(['local/a']);
  fetched[0]?.fail(new DarkbloomError('disk_full', 'Free 3 GB.'));
  await connection.until('prefetch_model_status', 4);
  expect(connection.framesOf('prefetch_model_status').find(({ status }) => status === 'failed')?.error).toBe(
    'Free 3 GB.',
  );
  expect(told()).toEqual(['local/a started', 'local/b started', 'local/a failed', 'local/b started']);
  expect(fetched.map(({ build }) => build)).toEqual(['local/a', 'local/b']);
});

test('only so many wait', () => {
  const { downloads, told } = play();
  for (let build = 0; build <= MAX_WAITING_DOWNLOADS + 1; build++) downloads.order(`local/${build}`);
  expect(told()).toEqual(['local/0 started', `local/${MAX_WAITING_DOWNLOADS + 1} failed`]);
});

test('a machine that is paused refuses, with its reason', () => {
  const refuse = () => {
    throw new DarkbloomError('paused', 'paused by its owner');
  };
  const { downloads, connection, fetched } = play({ refuse });
  downloads.order(NEW);
  expect(connection.frames).toMatchObject([{ status: 'failed', error: 'paused by its owner' }]);
  expect(fetched).toEqual([]);
});

test('of the desired builds those are fetched whose alias is served here and that are missing', () => {
  const { downloads, fetched } = play();
  downloads.desire([desired('other', 'local/other'), desired('tiny', 'local/tiny-v1'), desired('tiny', NEW)]);
  expect(fetched.map(({ build }) => build)).toEqual([NEW]);
});

test('a new list takes the place of the last one; what was ordered by name stays', async () => {
  const { downloads, connection, fetched } = play();
  downloads.desire([desired('tiny', 'local/a'), desired('tiny', 'local/b')]);
  downloads.order('local/c');
  downloads.desire([]);
  fetched[0]?.come();
  await connection.until('models_update');
  await nextTurn();
  fetched[1]?.come();
  await connection.until('models_update', 2);
  await nextTurn();
  expect(fetched.map(({ build }) => build)).toEqual(['local/a', 'local/c']);
});

test('what comes after a new connection is announced there', async () => {
  const { downloads, connection, fetched } = play();
  downloads.order(NEW);
  const next = new RecordedConnection();
  downloads.heard(next);
  fetched[0]?.come();
  await next.until('models_update');
  expect(connection.types).toEqual(['prefetch_model_status']);
});

test('closing stops what is fetched and what waits', async () => {
  const { downloads, fetched } = play();
  downloads.order('local/a');
  downloads.order('local/b');
  await downloads.close();
  expect(fetched.map(({ build, signal }) => [build, signal.aborted])).toEqual([['local/a', true]]);
});
