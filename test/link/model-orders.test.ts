import { expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { ModelOrders } from '../../src/link/model-orders.js';
import { RecordedConnection } from './recorded-connection.js';

const MODEL = 'local/tiny';
const about = { type: 'load_model_status', model_id: MODEL };

async function ordered(load: (model: string) => Promise<void>, refuse: () => void = () => undefined) {
  const connection = new RecordedConnection();
  await new ModelOrders({ isLoaded: () => false, load, refuse }).obey(MODEL, connection);
  return connection.frames;
}

/** Orders to a machine whose loads take as long as a test wants. */
function play(isLoaded = false) {
  const asked: string[] = [];
  let end: () => void = () => undefined;
  const load = (model: string) => {
    asked.push(model);
    return new Promise<void>((resolve) => (end = resolve));
  };
  const orders = new ModelOrders({ isLoaded: () => isLoaded, load, refuse: () => undefined });
  return { orders, asked, loaded: () => end() };
}

test('an order to load is answered when the load begins and when the model is there', async () => {
  const { orders, asked, loaded } = play();
  const connection = new RecordedConnection();
  const obeyed = orders.obey(MODEL, connection);
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

test('a model that is loaded is there at once', async () => {
  const { orders, asked } = play(true);
  const connection = new RecordedConnection();
  await orders.obey(MODEL, connection);
  expect(asked).toEqual([]);
  expect(connection.frames).toEqual([{ ...about, status: 'succeeded' }]);
});

test('a flood of orders is one load, and its end is told once, over the connection that asked last', async () => {
  const { orders, asked, loaded } = play();
  const [old, connection] = [new RecordedConnection(), new RecordedConnection()];
  const obeyed = orders.obey(MODEL, old);
  for (let index = 0; index < 100; index++) await orders.obey(MODEL, connection);
  loaded();
  await obeyed;
  expect(asked).toEqual([MODEL]);
  expect(old.frames).toEqual([{ ...about, status: 'started' }]);
  expect(connection.frames).toHaveLength(101);
  expect(connection.frames.at(-1)).toEqual({ ...about, status: 'succeeded' });
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
