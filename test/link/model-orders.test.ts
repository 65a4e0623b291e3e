import { expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { obeyLoad } from '../../src/link/model-orders.js';
import { RecordedConnection } from './recorded-connection.js';

const MODEL = 'local/tiny';
const about = { type: 'load_model_status', model_id: MODEL };

async function ordered(load: (model: string) => Promise<void>, refuse: () => void = () => undefined) {
  const connection = new RecordedConnection();
  await obeyLoad(MODEL, connection, { load, refuse });
  return connection.frames;
}

test('an order to load is answered when the load begins and when the model is there', async () => {
  const connection = new RecordedConnection();
  let loaded: () => void = () => undefined;
  const asked: string[] = [];
  const load = (model: string) => {
    asked.push(model);
    return new Promise<void>((resolve) => (loaded = resolve));
  };
  const obeyed = obeyLoad(MODEL, connection, { load, refuse: () => undefined });
  await connection.until('load_model_status');
  expect(connection.frames).toEqual([{ ...about, status: 'started' }]);
  await Promise.resolve();
  loaded();
  await obeyed;
  expect(asked).toEqual([MODEL]);
  expect(connection.frames).toEqual([
    { ...about, status: 'started' },
    { ...about, status: 'succeeded' },
  ]);
});

test.each([
  [new DarkbloomError('model_not_found', 'There is no model local/tiny on this machine.'), 'no such model'],
  [new DarkbloomError('insufficient_memory', 'It needs 9 GiB of 8.'), 'It needs 9 GiB of 8.'],
  [new Error('a path of this machine'), 'internal error; the log of the machine that ran into it has the cause'],
])('a load that fails is told, and why: %s', async (cause, error) => {
  expect(await ordered(() => Promise.reject(cause))).toEqual([
    { ...about, status: 'started' },
    { ...about, status: 'failed', error },
  ]);
});

test.each([
  ['draining', 'provider draining for update'],
  ['paused', 'paused by its owner'],
] as const)('a machine that is %s refuses at once, and loads nothing', async (code, error) => {
  let loads = 0;
  const frames = await ordered(
    () => Promise.resolve(void loads++),
    () => {
      throw new DarkbloomError(code, 'paused by its owner');
    },
  );
  expect(frames).toEqual([{ ...about, status: 'failed', error }]);
  expect(loads).toBe(0);
});
