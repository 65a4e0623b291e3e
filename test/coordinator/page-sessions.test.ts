import { describe, expect, test } from 'vitest';
import {
  ABSOLUTE_MS,
  CODE_LIFE_MS,
  IDLE_MS,
  MAX_CODES,
  MAX_SESSIONS,
  PageSessions,
} from '../../src/coordinator/page-sessions.js';
import { ManualClock } from '../support/manual-clock.js';

function fresh() {
  const clock = new ManualClock();
  return { clock, sessions: new PageSessions(clock) };
}

describe('a one-time code', () => {
  test('stands for its login once', () => {
    const { sessions } = fresh();
    const { id, code } = sessions.mintCode('login');
    expect(sessions.isOpen(id)).toBe(true);
    expect(sessions.redeem(code)).toBe('login');
    expect(sessions.isOpen(id)).toBe(false);
    expect(sessions.redeem(code)).toBeUndefined();
  });

  test.each([
    [CODE_LIFE_MS - 1, true],
    [CODE_LIFE_MS, false],
  ])('after %i ms it is good: %s', (ms, good) => {
    const { clock, sessions } = fresh();
    const { id, code } = sessions.mintCode('login');
    clock.turn(ms);
    expect(sessions.isOpen(id)).toBe(good);
    expect(sessions.redeem(code)).toBe(good ? 'login' : undefined);
  });

  test('is neither its id nor guessed by it', () => {
    const { sessions } = fresh();
    const { id, code } = sessions.mintCode('login');
    expect(code).toMatch(/^[\w-]{43}$/u);
    expect(sessions.redeem(id)).toBeUndefined();
  });

  test('gives way when there are too many', () => {
    const { sessions } = fresh();
    const codes = Array.from({ length: MAX_CODES + 1 }, (_, index) => sessions.mintCode(`login ${index}`).code);
    expect(codes.map((code) => sessions.redeem(code)).filter((login) => login !== undefined)).toHaveLength(MAX_CODES);
    expect(sessions.redeem(codes[0] ?? '')).toBeUndefined();
  });
});

describe('a session', () => {
  test('ends when it is closed, and others stay', () => {
    const { sessions } = fresh();
    const [one, other] = [sessions.open('login'), sessions.open('login')];
    sessions.close(one);
    expect(sessions.loginOf(one)).toBeUndefined();
    expect(sessions.loginOf(other)).toBe('login');
  });

  test('ends when nobody uses it', () => {
    const { clock, sessions } = fresh();
    const id = sessions.open('login');
    clock.turn(IDLE_MS - 1);
    expect(sessions.loginOf(id)).toBe('login');
    clock.turn(IDLE_MS - 1);
    expect(sessions.loginOf(id)).toBe('login');
    clock.turn(IDLE_MS);
    expect(sessions.loginOf(id)).toBeUndefined();
    expect(sessions.loginOf(id)).toBeUndefined();
  });

  test('ends some day however much it is used', () => {
    const { clock, sessions } = fresh();
    const id = sessions.open('login');
    for (let passed = 0; passed < ABSOLUTE_MS; passed += IDLE_MS / 2) {
      expect(sessions.loginOf(id)).toBe('login');
      clock.turn(IDLE_MS / 2);
    }
    expect(sessions.loginOf(id)).toBeUndefined();
  });

  test('that was not used for the longest gives way when there are too many', () => {
    const { sessions } = fresh();
    const ids = Array.from({ length: MAX_SESSIONS }, () => sessions.open('login'));
    expect(sessions.loginOf(ids[0] ?? '')).toBe('login');
    sessions.open('one more');
    expect(sessions.loginOf(ids[0] ?? '')).toBe('login');
    expect(sessions.loginOf(ids[1] ?? '')).toBeUndefined();
  });
});
