import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { MAX_WAITING, MAX_WAITING_IN_ALL, WaitingLine } from '../../src/coordinator/waiting-line.js';
import { ManualClock } from '../support/manual-clock.js';

/** A line before one counter, which serves one whenever the test says so. */
function played() {
  const clock = new ManualClock();
  const line = new WaitingLine(clock);
  const served: string[] = [];
  let free = 'none'; // or `any`, or the account whose own counter it is
  const wait = (
    name: string,
    { accountId = name.charAt(0), lane = 'tiny', signal = new AbortController().signal } = {},
  ) => {
    const look = (which: 'own' | 'any') => {
      const fits = which === 'own' ? free === accountId : free !== 'none';
      if (!fits) return false;
      free = 'none';
      served.push(name);
      return true;
    };
    const over = line.wait({ accountId, lane, look, why: () => 'All are busy.' }, signal);
    over.catch(() => undefined);
    return over;
  };
  const serve = async (who: string) => {
    free = who;
    line.advance();
    await nextTurn();
    free = 'none';
  };
  return { clock, line, served, wait, serve };
}

test('accounts take turns, however many requests each has; within one it is first come first served', async () => {
  const { served, wait, serve } = played();
  for (const name of ['a1', 'a2', 'a3', 'b1', 'c1', 'b2']) void wait(name);
  for (let time = 0; time < 6; time++) await serve('any');
  expect(served).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
});

test("on a machine its owner's requests come first, and cost the others no turn", async () => {
  const { served, wait, serve } = played();
  for (const name of ['a1', 'b1', 'c1', 'c2']) void wait(name);
  await serve('c');
  await serve('c');
  await serve('any');
  expect(served).toEqual(['c1', 'c2', 'a1']);
});

test('who leaves is gone at once, and nobody behind waits for that', async () => {
  const { clock, line, served, wait, serve } = played();
  const leaving = new AbortController();
  const left = wait('a1', { signal: leaving.signal });
  void wait('a2');
  leaving.abort(new Error('left'));
  expect(line.length).toBe(1);
  await expect(left).rejects.toThrow('left');
  expect(clock.pending).toBe(1);
  await serve('any');
  expect([served, clock.pending]).toEqual([['a2'], 0]);
});

test('an account has ten places for a model, and all accounts together a hundred', async () => {
  const { line, wait } = played();
  for (let place = 0; place < MAX_WAITING; place++) void wait(`a${place}`);
  const full = { code: 'over_capacity', retryAfterS: 30 };
  await expect(wait('a10')).rejects.toMatchObject({
    ...full,
    message: expect.stringContaining('10 of your requests') as string,
  });
  void wait('a11', { lane: 'other' });
  for (let place = line.length; place < MAX_WAITING_IN_ALL; place++) void wait(`z${place}`, { accountId: `z${place}` });
  await expect(wait('y1')).rejects.toMatchObject({
    ...full,
    message: expect.stringContaining('100 requests') as string,
  });
});

test('nobody waits longer than two minutes', async () => {
  const { clock, line, wait } = played();
  const waited = wait('a1');
  clock.turn(119_999);
  expect(line.length).toBe(1);
  clock.turn(1);
  await expect(waited).rejects.toMatchObject({ code: 'over_capacity', retryAfterS: 2 });
  expect(line.length).toBe(0);
});

test('a search that breaks ends its own wait and nobody else loses a turn', async () => {
  const { line, wait, served, serve } = played();
  const broken = line.wait(
    {
      accountId: 'a',
      lane: 'tiny',
      look: ((calls) => () => {
        if (calls++ > 0) throw new Error('cannot be sealed');
        return false;
      })(0),
      why: () => '',
    },
    new AbortController().signal,
  );
  void wait('b1');
  const failed = expect(broken).rejects.toMatchObject({ code: 'internal' });
  await serve('any');
  await failed;
  expect(served).toEqual(['b1']);
});
