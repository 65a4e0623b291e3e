import { expect, test } from 'vitest';
import { Accounts } from '../../src/coordinator/accounts.js';
import {
  DEVICE_CODE_LIFE_S,
  DeviceLogin,
  MAX_OPEN_CODES,
  MAX_WRONG_CODES,
  POLL_PERIOD_S,
} from '../../src/coordinator/device-login.js';
import type { ErrorCode } from '../../src/errors.js';
import { temporaryDatabase } from './temporary-database.js';

const LIFE_MS = DEVICE_CODE_LIFE_S * 1_000;

function temporaryLogin() {
  const house = temporaryDatabase();
  const accounts = new Accounts(house.database, house.clock);
  const login = new DeviceLogin(house.database, house.clock, accounts);
  return { ...house, accounts, owner: accounts.ensureOwner(), login };
}

function failsWith(code: ErrorCode, status: number): unknown {
  return expect.objectContaining({ code, status });
}

test('a machine waits, is approved, and gets its token once', () => {
  using house = temporaryLogin();
  const { login, accounts, owner } = house;
  const { deviceCode, userCode } = login.start();
  expect(deviceCode).toMatch(/^[0-9a-f]{64}$/);
  expect(userCode).toMatch(/^[A-HJKMNP-Z2-9]{4}-[A-HJKMNP-Z2-9]{4}$/);
  expect(login.poll(deviceCode)).toEqual({ status: 'pending' });

  login.approve(` ${userCode.toLowerCase()} `, owner.id);
  const answer = login.poll(deviceCode);
  expect(answer).toMatchObject({ status: 'authorized', accountId: owner.id });
  const token = answer.status === 'authorized' ? answer.token : '';
  expect(accounts.accountOfProviderToken(token)).toEqual(owner);
  expect(() => login.poll(deviceCode)).toThrow(failsWith('expired_token', 410));
});

test('unknown codes are told from expired ones', () => {
  using house = temporaryLogin();
  const { login, clock, owner } = house;
  const { deviceCode, userCode } = login.start();
  expect(() => login.poll('00')).toThrow(failsWith('invalid_grant', 404));
  expect(() => login.approve('AAAA-AAAA', owner.id)).toThrow(failsWith('invalid_code', 404));

  clock.pass(LIFE_MS - 1);
  expect(login.poll(deviceCode)).toEqual({ status: 'pending' });
  clock.pass(1);
  expect(() => login.poll(deviceCode)).toThrow(failsWith('expired_token', 410));
  expect(() => login.approve(userCode, owner.id)).toThrow(failsWith('expired_code', 410));
});

test('an approval comes too late for a machine that stopped asking', () => {
  using house = temporaryLogin();
  const { login, clock, owner, database } = house;
  const { deviceCode, userCode } = login.start();
  login.approve(userCode, owner.id);
  clock.pass(LIFE_MS);
  expect(() => login.poll(deviceCode)).toThrow(failsWith('expired_token', 410));
  expect(database.all('SELECT * FROM provider_tokens')).toEqual([]);
});

test('a code is approved once', () => {
  using house = temporaryLogin();
  const { login, owner, accounts } = house;
  const { userCode } = login.start();
  login.approve(userCode, owner.id);
  const other = accounts.add('Ada', { acceptUnattested: false });
  expect(() => login.approve(userCode, other.id)).toThrow(failsWith('already_used', 409));
});

test('neither the device code nor the token is in the database', () => {
  using house = temporaryLogin();
  const { login, owner, database } = house;
  const { deviceCode, userCode } = login.start();
  login.approve(userCode, owner.id);
  const answer = login.poll(deviceCode);
  const token = answer.status === 'authorized' ? answer.token : '';
  const stored = ['device_codes', 'provider_tokens']
    .flatMap((table) => database.all(`SELECT * FROM ${table}`))
    .flatMap((row) => Object.values(row).map(String));
  expect(stored).toContain(`device-${userCode}`);
  expect(stored.filter((text) => text.includes(deviceCode) || text.includes(token.slice(-64)))).toEqual([]);
});

test('only so many codes wait at a time: a new one makes the oldest forgotten, and expired ones go by themselves', () => {
  using house = temporaryLogin();
  const { login, clock, database } = house;
  const oldest = login.start();
  clock.pass(1);
  const first = login.start();
  const insert = 'INSERT INTO device_codes (hash, user_code, expires_at) VALUES (?, ?, ?)';
  database.transaction(() => {
    for (let index = 2; index < MAX_OPEN_CODES; index++) {
      database.run(insert, `hash-${index}`, `code-${index}`, clock.now() + LIFE_MS);
    }
  });
  login.start();
  expect(() => login.poll(oldest.deviceCode)).toThrow(failsWith('invalid_grant', 404));
  expect(login.poll(first.deviceCode)).toEqual({ status: 'pending' });

  clock.pass(LIFE_MS);
  login.start();
  expect(() => login.poll(first.deviceCode)).toThrow(failsWith('expired_token', 410));
  clock.pass(LIFE_MS);
  login.start();
  expect(() => login.poll(first.deviceCode)).toThrow(failsWith('invalid_grant', 404));
  expect(database.all('SELECT * FROM device_codes')).toHaveLength(2);
});

test('a machine that is refused hears it, and nobody can approve it afterwards', () => {
  using house = temporaryLogin();
  const { login, owner } = house;
  const { deviceCode, userCode } = login.start();
  login.deny(userCode.toLowerCase(), owner.id);
  expect(() => login.poll(deviceCode)).toThrow(failsWith('access_denied', 403));
  expect(() => login.approve(userCode, owner.id)).toThrow(failsWith('already_used', 409));
  expect(() => login.deny(userCode, owner.id)).toThrow(failsWith('already_used', 409));
});

test('a machine that was approved is not refused any more', () => {
  using house = temporaryLogin();
  const { login, owner } = house;
  const { deviceCode, userCode } = login.start();
  login.approve(userCode, owner.id);
  expect(() => login.deny(userCode, owner.id)).toThrow(failsWith('already_used', 409));
  expect(login.poll(deviceCode).status).toBe('authorized');
});

test('a machine that asks too often is told to slow down, and gets its token at its own pace', () => {
  using house = temporaryLogin();
  const { login, clock, owner } = house;
  const { deviceCode, userCode } = login.start();
  expect(login.poll(deviceCode)).toEqual({ status: 'pending' });
  clock.pass(POLL_PERIOD_S * 1_000 - 1_001);
  expect(() => login.poll(deviceCode)).toThrow(
    expect.objectContaining({ code: 'slow_down', status: 429, retryAfterS: POLL_PERIOD_S }),
  );
  clock.pass(POLL_PERIOD_S * 1_000 - 1_000);
  expect(login.poll(deviceCode)).toEqual({ status: 'pending' });
  const other = login.start();
  expect(login.poll(other.deviceCode)).toEqual({ status: 'pending' });
  login.approve(userCode, owner.id);
  expect(login.poll(deviceCode).status).toBe('authorized');
});

test('an account may guess wrongly only so often; others are not held up, and the right code waits', () => {
  using house = temporaryLogin();
  const { login, clock, owner, accounts } = house;
  const other = accounts.add('Ada', { acceptUnattested: false });
  for (let guess = 0; guess < MAX_WRONG_CODES; guess++) {
    expect(() => login.approve('AAAA-AAAA', owner.id)).toThrow(failsWith('invalid_code', 404));
  }
  clock.pass(1_000);
  const { deviceCode, userCode } = login.start();
  expect(() => login.approve(userCode, owner.id)).toThrow(
    expect.objectContaining({ code: 'slow_down', retryAfterS: DEVICE_CODE_LIFE_S - 1 }),
  );
  expect(() => login.deny(userCode, owner.id)).toThrow(failsWith('slow_down', 429));
  clock.pass(LIFE_MS - 1_001);
  expect(() => login.approve(userCode, owner.id)).toThrow(failsWith('slow_down', 429));
  login.approve(userCode, other.id);
  expect(login.poll(deviceCode)).toMatchObject({ accountId: other.id });
  clock.pass(1);
  const later = login.start();
  login.approve(later.userCode, owner.id);
  expect(login.poll(later.deviceCode)).toMatchObject({ accountId: owner.id });
});
