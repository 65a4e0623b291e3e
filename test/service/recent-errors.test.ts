import { expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { RecentErrors } from '../../src/service/recent-errors.js';
import { ManualClock } from '../support/manual-clock.js';

function play() {
  const clock = new ManualClock();
  return { clock, errors: new RecentErrors(clock) };
}

test('an error is kept with its time, its code and our words', () => {
  const { errors } = play();
  expect(errors.list).toEqual([]);
  errors.add(new DarkbloomError('over_capacity', 'All 4 slots are busy.'));
  expect(errors.list).toEqual([
    { at: '2026-06-21T15:04:05.000Z', code: 'over_capacity', message: 'All 4 slots are busy.' },
  ]);
});

test('what caused it, and which field of the request, is not kept', () => {
  const { errors } = play();
  const cause = new Error('a secret question');
  errors.add(new DarkbloomError('internal', 'internal error', { cause, param: 'a secret field' }));
  expect(JSON.stringify(errors.list)).not.toContain('secret');
});

test('the newest comes first, and only ten are kept', () => {
  const { clock, errors } = play();
  for (let number = 1; number <= 12; number++) {
    errors.add(new DarkbloomError('timeout', `error ${number}`));
    clock.turn(1_000);
  }
  expect(errors.list.map(({ message }) => message)).toEqual(
    [12, 11, 10, 9, 8, 7, 6, 5, 4, 3].map((number) => `error ${number}`),
  );
  expect(errors.list[0]?.at).toBe('2026-06-21T15:04:16.000Z');
});
