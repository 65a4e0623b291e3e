import { describe, expect, test } from 'vitest';
import { Accounts } from '../../src/coordinator/accounts.js';
import { keyView } from '../../src/coordinator/keys.js';
import { START_MS, temporaryDatabase } from './temporary-database.js';

function temporaryAccounts() {
  const house = temporaryDatabase();
  return { ...house, accounts: new Accounts(house.database, house.clock) };
}

const STRICT = { acceptUnattested: false };

describe('accounts', () => {
  test('the owner has one account, however often it is asked for', () => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const owner = accounts.ensureOwner();
    expect(owner).toEqual({
      id: expect.stringMatching(/^acct_[0-9a-f]{24}$/) as string,
      name: 'owner',
      isOwner: true,
      acceptUnattested: false,
    });
    expect(accounts.ensureOwner()).toEqual(owner);
    expect(accounts.list()).toEqual([owner]);
  });

  test('an account is found by its id and by its name', () => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const ada = accounts.add('  Ada ', { acceptUnattested: true });
    expect(ada).toMatchObject({ name: 'Ada', isOwner: false, acceptUnattested: true });
    expect([accounts.find(ada.id), accounts.find('Ada'), accounts.find('Bob')]).toEqual([ada, ada, undefined]);
  });

  test.each(['', '  ', 'x'.repeat(101), 'Ada', 'owner'])('the name "%s" is refused', (name) => {
    using house = temporaryAccounts();
    const { accounts } = house;
    accounts.add('Ada', STRICT);
    expect(() => accounts.add(name, STRICT)).toThrow(expect.objectContaining({ code: 'bad_request', param: 'name' }));
    expect(accounts.list()).toHaveLength(1);
  });

  test('whether machines without attestation may serve can be changed', () => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const ada = accounts.add('Ada', STRICT);
    accounts.setAcceptUnattested(ada.id, true);
    expect(accounts.find('Ada')?.acceptUnattested).toBe(true);
  });
});

describe('tokens', () => {
  test('say who asks and with what', () => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const account = accounts.ensureOwner();
    const login = accounts.mintLoginToken(account.id);
    const device = accounts.mintProviderToken(account.id, 'device-7KQH-M2XP');
    const { secret, key } = accounts.keys.create(account.id, undefined);

    expect(login).toMatch(/^db-login-[0-9a-f]{64}$/);
    expect(device).toMatch(/^eigeninference-pt-[0-9a-f]{64}$/);
    expect(accounts.authenticate(login)).toEqual({ account, via: 'login' });
    expect(accounts.authenticate(device)).toEqual({ account, via: 'device' });
    expect(accounts.authenticate(secret)).toEqual({ account, via: 'key', key: { ...key, lastUsedAt: START_MS } });
    expect(accounts.authenticate(`${secret}0`)).toBeUndefined();
    expect(accounts.authenticate('')).toBeUndefined();
  });

  test('only a token of a machine names the account of a machine', () => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const owner = accounts.ensureOwner();
    const device = accounts.mintProviderToken(owner.id, 'local');
    expect(accounts.accountOfProviderToken(device)).toEqual(owner);
    expect(accounts.accountOfProviderToken(accounts.mintLoginToken(owner.id))).toBeUndefined();
  });

  test('are nowhere in the database', () => {
    using house = temporaryAccounts();
    const { accounts, database } = house;
    const { id } = accounts.ensureOwner();
    const secrets = [
      accounts.mintLoginToken(id),
      accounts.mintProviderToken(id, 'local'),
      accounts.keys.create(id, {}).secret,
    ];
    const stored = ['login_tokens', 'provider_tokens', 'api_keys']
      .flatMap((table) => database.all(`SELECT * FROM ${table}`))
      .flatMap((row) => Object.values(row).map(String));
    for (const secret of secrets) {
      const digits = secret.slice(-64);
      expect(stored.filter((text) => text.includes(digits))).toEqual([]);
    }
  });
});

describe('API keys', () => {
  test('a key is made as asked and shown without what is not set', () => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const { id } = accounts.ensureOwner();
    const { secret, key } = accounts.keys.create(id, {
      name: ' laptop ',
      allowed_models: ['tiny', 'big'],
      self_route_only: true,
      expires_at: '2026-07-01T00:00:00+02:00',
      limit_usd: null,
      limit_reset: 'none',
      rpm_limit: 0,
    });
    expect(secret).toMatch(/^sk-db-[0-9a-f]{64}$/);
    expect(keyView(key, 250_000n)).toEqual({
      id: expect.stringMatching(/^key_[0-9a-f]{24}$/) as string,
      name: 'laptop',
      label: `${secret.slice(0, 10)}...${secret.slice(-4)}`,
      disabled: false,
      limit_reset: 'none',
      usage_usd: 0.25,
      allowed_models: ['tiny', 'big'],
      self_route_only: true,
      expires_at: '2026-06-30T22:00:00.000Z',
      created_at: '2026-06-21T15:04:05.000Z',
    });
    expect(accounts.keys.find(id, key.id)).toEqual(key);

    accounts.authenticate(secret);
    const plain = accounts.keys.create(id, {});
    expect(Object.keys(keyView(plain.key, 0n))).not.toEqual(expect.arrayContaining(['allowed_models']));
    expect(accounts.keys.list(id).map((each) => keyView(each, 0n))).toMatchObject([
      { name: 'laptop', last_used_at: '2026-06-21T15:04:05.000Z' },
      { name: '' },
    ]);
  });

  test.each([
    { field: 'name', value: 7 },
    { field: 'name', value: 'x'.repeat(101) },
    { field: 'allowed_models', value: 'tiny' },
    { field: 'allowed_models', value: [''] },
    { field: 'self_route_only', value: 'yes' },
    { field: 'expires_at', value: 'tomorrow' },
    { field: 'expires_at', value: '2026-06-21T15:04:05Z' },
    { field: 'expire_at', value: '2027-01-01T00:00:00Z' },
  ])('$field: $value is refused, naming the field', ({ field, value }) => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const { id } = accounts.ensureOwner();
    expect(() => accounts.keys.create(id, { [field]: value })).toThrow(
      expect.objectContaining({ code: 'bad_request', param: field }),
    );
    expect(accounts.keys.list(id)).toEqual([]);
  });

  test.each(['a text', 7, []])('%j is no body', (body) => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const { id } = accounts.ensureOwner();
    expect(() => accounts.keys.create(id, body)).toThrow(expect.objectContaining({ code: 'bad_request' }));
  });

  test('a revoked key is dead at once, and only its account can revoke it', () => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const owner = accounts.ensureOwner();
    const other = accounts.add('Ada', STRICT);
    const { secret, key } = accounts.keys.create(owner.id, {});
    expect(accounts.keys.find(other.id, key.id)).toBeUndefined();
    expect(accounts.keys.revoke(other.id, key.id)).toBe(false);
    expect(accounts.authenticate(secret)).toBeDefined();
    expect(accounts.keys.revoke(owner.id, key.id)).toBe(true);
    expect(accounts.authenticate(secret)).toBeUndefined();
    expect(accounts.keys.revoke(owner.id, key.id)).toBe(false);
  });

  test('an expired key is refused from its last moment on', () => {
    using house = temporaryAccounts();
    const { accounts, clock } = house;
    const { id } = accounts.ensureOwner();
    const { secret } = accounts.keys.create(id, { expires_at: new Date(START_MS + 1_000).toISOString() });
    clock.pass(999);
    expect(accounts.authenticate(secret)).toBeDefined();
    clock.pass(1);
    expect(accounts.authenticate(secret)).toBeUndefined();
  });

  test('a disabled key is refused until it is enabled', () => {
    using house = temporaryAccounts();
    const { accounts } = house;
    const { id } = accounts.ensureOwner();
    const { secret, key } = accounts.keys.create(id, {});
    accounts.keys.change(id, key.id, { disabled: true });
    expect(accounts.authenticate(secret)).toBeUndefined();
    expect(accounts.keys.find(id, key.id)?.disabled).toBe(true);
    accounts.keys.change(id, key.id, { disabled: false });
    expect(accounts.authenticate(secret)).toBeDefined();
  });

  test('the time of the last use is kept to the minute', () => {
    using house = temporaryAccounts();
    const { accounts, clock } = house;
    const { id } = accounts.ensureOwner();
    const { secret, key } = accounts.keys.create(id, {});
    const lastUsed = () => accounts.keys.find(id, key.id)?.lastUsedAt;
    expect(lastUsed()).toBeUndefined();
    accounts.authenticate(secret);
    expect(lastUsed()).toBe(START_MS);
    clock.pass(59_999);
    accounts.authenticate(secret);
    expect(lastUsed()).toBe(START_MS);
    clock.pass(1);
    accounts.authenticate(secret);
    expect(lastUsed()).toBe(START_MS + 60_000);
  });
});
