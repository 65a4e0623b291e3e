import { expect, test } from 'vitest';
import { Breakers, faultIn } from '../../src/coordinator/breakers.js';
import { DarkbloomError } from '../../src/errors.js';
import { ManualClock } from '../support/manual-clock.js';

const M = 'mach_1';
const B = 'local/tiny';

function played() {
  const clock = new ManualClock();
  const breakers = new Breakers(clock);
  const rests = (machine = M, build = B, shape: 'plain' | 'tools' = 'plain') => {
    const until = breakers.restsUntil(machine, build, shape);
    return until === undefined ? 0 : (until - clock.now()) / 1_000;
  };
  return { clock, breakers, rests };
}

test('a model that could not be loaded rests for two minutes on that machine', () => {
  const { clock, breakers, rests } = played();
  breakers.failed(M, B, 'plain', 'load');
  expect([rests(), rests(M, B, 'tools'), rests(M, 'other'), rests('mach_2')]).toEqual([120, 120, 0, 0]);
  clock.turn(120_000);
  expect(rests()).toBe(0);
});

test('two failed answers within a minute rest the shape of request for five minutes, and only that', () => {
  const { clock, breakers, rests } = played();
  breakers.failed(M, B, 'plain', 'answer');
  clock.turn(59_999);
  expect(rests()).toBe(0);
  breakers.failed(M, B, 'plain', 'answer');
  expect([rests(), rests(M, B, 'tools')]).toEqual([300, 0]);
});

test.each([
  ['a minute between them', 60_000, false],
  ['a good answer between them', 1_000, true],
])('two failed answers with %s are forgiven', (_, ms, good) => {
  const { clock, breakers, rests } = played();
  breakers.failed(M, B, 'plain', 'answer');
  if (good) breakers.succeeded(M, B, 'plain');
  clock.turn(ms);
  breakers.failed(M, B, 'plain', 'answer');
  expect(rests()).toBe(0);
});

test('five faults in a row rest the machine for a minute, then for two, for four, for five; a good answer ends that', () => {
  const { clock, breakers, rests } = played();
  for (let fault = 0; fault < 4; fault++) breakers.lost(M);
  expect(rests()).toBe(0);
  for (const seconds of [60, 120, 240, 300, 300]) {
    breakers.lost(M);
    expect(rests(M, 'any model')).toBe(seconds);
    clock.turn(seconds * 1_000);
  }
  breakers.succeeded(M, B, 'plain');
  breakers.lost(M);
  expect(rests()).toBe(0);
});

test('more than four faults in five of the last twenty rest the machine too, without five in a row', () => {
  const { breakers, rests } = played();
  for (let attempt = 1; attempt <= 24; attempt++) {
    if (attempt % 6 === 0) breakers.succeeded(M, B, 'plain');
    else if (rests() === 0 && attempt % 6 !== 5) breakers.lost(M);
    else breakers.failed(M, 'other', 'plain', 'machine');
    if (attempt % 6 === 4) expect(rests() > 0).toBe(false);
    if (rests() > 0) break;
  }
  expect(rests()).toBe(60);
});

test('of a thousand machines more than can be remembered, the oldest is forgotten', () => {
  const { breakers, rests } = played();
  for (let machine = 0; machine <= 1_000; machine++) breakers.failed(`mach_${machine}`, B, 'plain', 'load');
  expect([rests('mach_0'), rests('mach_1'), rests('mach_1000')]).toEqual([0, 120, 120]);
});

test.each([
  [new DarkbloomError('model_unavailable', 'model load failed'), 'load'],
  [new DarkbloomError('timeout', 'silent'), 'answer'],
  [new DarkbloomError('provider_error', 'engine fault', { status: 500 }), 'answer'],
  [new DarkbloomError('provider_error', 'bad gateway', { status: 502 }), 'answer'],
  [new DarkbloomError('provider_error', 'the process that ran the model ended', { status: 503 }), 'machine'],
  [new DarkbloomError('provider_error', 'token_budget_exhausted', { status: 503 }), undefined],
  [new DarkbloomError('provider_error', 'no such structure', { status: 422 }), undefined],
  [new DarkbloomError('over_capacity', 'queue full'), undefined],
  [new DarkbloomError('draining', 'draining'), undefined],
  [new DarkbloomError('invalid_request', 'roles must alternate'), undefined],
  [new DarkbloomError('context_length_exceeded', 'too long'), undefined],
  [new DarkbloomError('cancelled', 'request cancelled'), undefined],
])('%s is a fault of kind %s', (error, fault) => {
  expect(faultIn(error)).toBe(fault);
});
