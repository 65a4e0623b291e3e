import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { identityProviderOf } from '../../src/coordinator/identity-provider.js';
import { silentLog } from '../../src/log.js';
import { ManualClock } from '../support/manual-clock.js';
import { portOf } from '../support/port-of.js';
import { RecordedLog } from '../support/recorded-log.js';
import { refusal } from './refusal.js';
import { StartedCoordinator } from './started-coordinator.js';

const ISSUER = 'privy.io';
const AUDIENCE = 'app-1';
const SUBJECT = 'did:privy:ada';

interface Keys {
  publicKey: CryptoKey;
  privateKey: CryptoKey;
}

let keys: Keys;
let others: Keys;
let rsa: Keys;
beforeAll(async () => {
  [keys, others] = [await generateKeyPair('ES256'), await generateKeyPair('ES256')];
  rsa = await generateKeyPair('RS256');
});

/** The provider's address for its keys, on this machine. */
class KeyServer implements AsyncDisposable {
  keys: JWK[] = [];
  status = 200;
  fetches = 0;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (_, response) => {
      this.fetches++;
      response.writeHead(this.status, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: this.keys }));
    });
  }

  static async listen(): Promise<KeyServer> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new KeyServer(server);
  }

  get url(): string {
    return `http://127.0.0.1:${portOf(this.#server)}/jwks.json`;
  }

  async publish(kid: string, { publicKey }: Keys): Promise<void> {
    this.keys.push({ ...(await exportJWK(publicKey)), kid, use: 'sig' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

interface Claims {
  issuer?: string;
  audience?: string;
  subject?: string;
  /** Seconds from now. */
  expiresIn?: number;
  notBeforeIn?: number;
  alg?: string;
  kid?: string;
  key?: CryptoKey | Uint8Array;
}

let clock: ManualClock;

async function tokenOf(claims: Claims = {}): Promise<string> {
  const now = Math.floor(clock.now() / 1_000);
  const { issuer = ISSUER, audience = AUDIENCE, subject = SUBJECT, alg = 'ES256', kid = 'one' } = claims;
  const token = new SignJWT({ sid: 'session' })
    .setProtectedHeader({ alg, kid, typ: 'JWT' })
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(now)
    .setExpirationTime(now + (claims.expiresIn ?? 3_600));
  if (subject !== '') token.setSubject(subject);
  if (claims.notBeforeIn !== undefined) token.setNotBefore(now + claims.notBeforeIn);
  return token.sign(claims.key ?? keys.privateKey);
}

let server: KeyServer;
let house: StartedCoordinator;
beforeEach(async () => {
  clock = new ManualClock();
  server = await KeyServer.listen();
  await server.publish('one', keys);
  const settings = { issuer: ISSUER, audience: AUDIENCE, jwks_url: server.url };
  const identity = identityProviderOf(settings, { clock, log: silentLog() });
  house = await StartedCoordinator.start({ identity, clock });
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const Id = z.object({ account_id: z.string() });
const list = (token: string) => house.call('GET', '/v1/keys', { token });
const accountOf = async (token: string) =>
  Id.parse((await house.call('POST', '/v1/auth/keys', { token })).json).account_id;

/** Refused as not signed in, for this reason. */
const notSignedIn = (reason: string) => ({
  status: 401,
  json: { error: { type: 'authentication_error', message: expect.stringContaining(`(${reason})`) as string } },
});

describe('a token of the identity provider', () => {
  test('makes an account when its person is seen first, and finds it ever after', async () => {
    const first = await accountOf(await tokenOf());
    expect(await accountOf(await tokenOf({ expiresIn: 60 }))).toBe(first);
    expect(house.coordinator.accounts.list()).toEqual([
      house.coordinator.owner,
      { id: first, name: SUBJECT, isOwner: false, acceptUnattested: false },
    ]);
    expect(await accountOf(await tokenOf({ subject: 'did:privy:bob' }))).not.toBe(first);
    expect(server.fetches).toBe(1);
  });

  test('is a login: it manages keys, and is none of the owner', async () => {
    const token = await tokenOf();
    expect(await list(token)).toEqual({ status: 200, json: { object: 'list', data: [] } });
    expect((await house.call('GET', '/v1/models', { token })).status).toBe(200);
    expect(await house.call('GET', '/v1/admin/accounts', { token })).toEqual(refusal(403, 'forbidden'));
  });

  test("gives nobody another's account by its name", async () => {
    const ada = house.coordinator.accounts.add(SUBJECT, { acceptUnattested: false });
    for (const subject of [SUBJECT, 'owner', ada.id, house.coordinator.owner.id, 'x'.repeat(200), 'a b']) {
      const id = await accountOf(await tokenOf({ subject }));
      expect([ada.id, house.coordinator.owner.id]).not.toContain(id);
      expect(house.coordinator.accounts.find(id)?.name).toMatch(/^user_[0-9a-f]{24}$/u);
    }
  });

  test.each<[string, () => Claims]>([
    ['issuer', () => ({ issuer: 'elsewhere.io' })],
    ['audience', () => ({ audience: 'app-2' })],
    ['expired', () => ({ expiresIn: -31 })],
    ['not_yet_valid', () => ({ notBeforeIn: 31 })],
    ['claims', () => ({ subject: '' })],
    ['claims', () => ({ subject: 'x'.repeat(256) })],
    ['signature', () => ({ key: others.privateKey })],
    ['unknown_key', () => ({ kid: 'two' })],
    ['unknown_key', () => ({ alg: 'RS256', key: rsa.privateKey })],
    ['algorithm', () => ({ alg: 'HS256', key: new TextEncoder().encode('x'.repeat(32)) })],
  ])('is refused as %s, and no account is made', async (reason, claims) => {
    const token = await tokenOf(claims());
    const answer = await list(token);
    expect(answer).toMatchObject(notSignedIn(reason));
    expect(JSON.stringify(answer)).not.toContain(token.split('.')[2]);
    expect(house.coordinator.accounts.list()).toHaveLength(1);
  });

  test('without a signature, or that is no token, is refused', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const body = part({ iss: ISSUER, aud: AUDIENCE, sub: SUBJECT, exp: clock.now() });
    expect(await list(`${part({ alg: 'none' })}.${body}.`)).toMatchObject({ status: 401 });
    for (const token of ['eyJ', 'eyJ.eyJ.eyJ', `eyJ${'x'.repeat(9_000)}`]) {
      expect(await list(token)).toMatchObject(notSignedIn('malformed'));
    }
  });

  test('is forgiven half a minute of clocks', async () => {
    expect((await list(await tokenOf({ expiresIn: -29, notBeforeIn: 29 }))).status).toBe(200);
  });

  test('ends with the clock', async () => {
    const token = await tokenOf({ expiresIn: 60 });
    expect((await list(token)).status).toBe(200);
    clock.turn(91_000);
    expect(await list(token)).toMatchObject(notSignedIn('expired'));
  });

  test('changes nothing for other tokens, and for routes without a login', async () => {
    expect((await list(house.ownerToken)).status).toBe(200);
    expect((await house.call('GET', '/v1/models/catalog', { token: 'eyJ' })).status).toBe(200);
    expect((await house.call('GET', '/v1/nothing', { token: 'eyJ' })).status).toBe(404);
    expect(server.fetches).toBe(0);
  });
});

describe('the keys of the provider', () => {
  test('are fetched anew for one that is not known, at most every half minute', async () => {
    expect((await list(await tokenOf())).status).toBe(200);
    await server.publish('two', others);
    const token = () => tokenOf({ kid: 'two', key: others.privateKey });
    expect(await list(await token())).toMatchObject(notSignedIn('unknown_key'));
    expect(server.fetches).toBe(1);
    clock.turn(30_000);
    expect((await list(await token())).status).toBe(200);
    expect(server.fetches).toBe(2);
  });

  test('that the provider took back are refused within ten minutes', async () => {
    const token = await tokenOf();
    expect((await list(token)).status).toBe(200);
    server.keys = [];
    await server.publish('two', others);
    clock.turn(600_000);
    expect(await list(token)).toMatchObject(notSignedIn('unknown_key'));
  });

  test('that cannot be had are no fault of the caller; those from before are good for a day', async () => {
    server.status = 500;
    const unavailable = { status: 503, json: { error: { type: 'service_unavailable', code: 'identity_unavailable' } } };
    expect(await list(await tokenOf())).toMatchObject(unavailable);
    expect(await list(await tokenOf())).toMatchObject(unavailable);
    expect(server.fetches).toBe(1);
    server.status = 200;
    clock.turn(30_000);
    expect((await list(await tokenOf())).status).toBe(200);
    server.status = 500;
    clock.turn(600_000);
    expect((await list(await tokenOf())).status).toBe(200);
    clock.turn(24 * 3_600_000);
    expect(await list(await tokenOf())).toMatchObject(unavailable);
  });
});

test('keys that cannot be had: the log says why', async () => {
  const recorded = new RecordedLog();
  const settings = { issuer: ISSUER, audience: AUDIENCE, jwks_url: server.url };
  const provider = identityProviderOf(settings, { clock, log: recorded.log });
  await server[Symbol.asyncDispose]();
  await expect(provider?.subjectOf(await tokenOf())).rejects.toMatchObject({ code: 'identity_unavailable' });
  expect(recorded.text).toContain('ECONNREFUSED');
});

describe('a pinned key', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'identity-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function pinned(text: string) {
    const file = join(folder, 'key.pem');
    writeFileSync(file, text);
    return identityProviderOf(
      { issuer: ISSUER, audience: AUDIENCE, public_key_file: file },
      { clock, log: silentLog() },
    );
  }

  test('is the only one, and only for its own algorithm', async () => {
    const provider = pinned(await exportSPKI(keys.publicKey));
    expect(await provider?.subjectOf(await tokenOf())).toBe(SUBJECT);
    const refused = (reason: string): unknown =>
      expect.objectContaining({ code: 'unauthorized', message: expect.stringContaining(`(${reason})`) as string });
    const wrong = tokenOf({ key: others.privateKey });
    await expect(provider?.subjectOf(await wrong)).rejects.toThrow(refused('signature'));
    const other = tokenOf({ alg: 'RS256', key: rsa.privateKey });
    await expect(provider?.subjectOf(await other)).rejects.toThrow(refused('algorithm'));
    const symmetric = tokenOf({ alg: 'HS256', key: new TextEncoder().encode(await exportSPKI(keys.publicKey)) });
    await expect(provider?.subjectOf(await symmetric)).rejects.toThrow(refused('algorithm'));
  });

  test.each(['', 'no key'])('that is none is told with its setting: "%s"', (text) => {
    expect(() => pinned(text)).toThrow(
      expect.objectContaining({ code: 'config_invalid', param: 'identity.public_key_file' }),
    );
  });
});
