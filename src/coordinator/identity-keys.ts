import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { createLocalJWKSet, errors, type CryptoKey, type JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import type { Log } from '../log.js';
import type { Clock } from '../util/clock.js';
import { tryJson } from '../util/json.js';

/** The keys that an identity provider signs with, and the algorithms they may be used for. */
export interface IdentityKeys {
  algorithms: string[];
  find: JWTVerifyGetKey;
}

/** Keys are fetched anew after this time, and for a key that is not known. */
const KEYS_LIFE_MS = 10 * 60_000;
/** While the provider cannot be reached, older keys are good for so long. */
const KEYS_MAX_AGE_MS = 24 * 60 * 60_000;
/** Between two fetches: anybody can send a token with an unknown key. */
const MIN_FETCH_GAP_MS = 30_000;
const FETCH_TIMEOUT_MS = 5_000;
const MAX_KEYS_BYTES = 256 * 1024;
const MAX_KEYS = 100;

/** Of a key set. All need a private key at the provider; a token cannot choose one that does not. */
const ALGORITHMS = ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'];

const KeySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(MAX_KEYS) });

/** One key from a PEM file.
 *  @throws DarkbloomError `config_invalid`. */
export function pinnedKey(path: string): IdentityKeys {
  const param = 'identity.public_key_file';
  let key: KeyObject;
  try {
    key = createPublicKey(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new DarkbloomError('config_invalid', `${param}: ${path} cannot be read as a public key in PEM.`, {
      cause,
      param,
    });
  }
  const algorithms = algorithmsOf(key);
  if (algorithms === undefined) {
    throw new DarkbloomError('config_invalid', `${param}: ${path} has a key of a kind that is not supported.`, {
      param,
    });
  }
  return { algorithms, find: () => Promise.resolve(key) };
}

function algorithmsOf({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): string[] | undefined {
  if (type === 'rsa') return ['RS256', 'PS256'];
  if (type === 'ed25519') return ['EdDSA'];
  if (type !== 'ec') return undefined;
  const byCurve: Record<string, string[]> = { prime256v1: ['ES256'], secp384r1: ['ES384'] };
  return byCurve[details?.namedCurve ?? ''];
}

/** Keys at an address (JWKS), fetched when a token needs them. */
export function remoteKeys(url: string, options: { clock: Clock; log: Log }): IdentityKeys {
  const keys = new RemoteKeys(url, options);
  return { algorithms: ALGORITHMS, find: (header, token) => keys.find(header, token) };
}

type FindKey = (...token: Parameters<ReturnType<typeof createLocalJWKSet>>) => Promise<CryptoKey>;

class RemoteKeys {
  readonly #url: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #known: { find: FindKey; at: number } | undefined;
  #triedAt = -Infinity;
  #fetching: Promise<void> | undefined;

  constructor(url: string, { clock, log }: { clock: Clock; log: Log }) {
    this.#url = url;
    this.#clock = clock;
    this.#log = log;
  }

  /** @throws DarkbloomError `identity_unavailable` without any key; jose's error for a key that the provider lacks. */
  readonly find: FindKey = async (header, token) => {
    if (this.#age >= KEYS_LIFE_MS) await this.#refresh();
    try {
      return await this.#usable()(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !(await this.#refresh())) throw error;
      return this.#usable()(header, token);
    }
  };

  get #age(): number {
    return this.#clock.now() - (this.#known?.at ?? -Infinity);
  }

  #usable(): FindKey {
    if (this.#known !== undefined && this.#age < KEYS_MAX_AGE_MS) return this.#known.find;
    throw new DarkbloomError(
      'identity_unavailable',
      'The keys of the identity provider cannot be had now. Try later.',
      {
        retryAfterS: MIN_FETCH_GAP_MS / 1_000,
      },
    );
  }

  /** False when the last try was too short ago. Whoever comes meanwhile waits for the same fetch. */
  async #refresh(): Promise<boolean> {
    if (this.#fetching === undefined) {
      if (this.#clock.now() - this.#triedAt < MIN_FETCH_GAP_MS) return false;
      this.#triedAt = this.#clock.now();
      this.#fetching = this.#fetch().finally(() => (this.#fetching = undefined));
    }
    await this.#fetching;
    return true;
  }

  async #fetch(): Promise<void> {
    try {
      const response = await fetch(this.#url, { redirect: 'error', signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
      if (!response.ok) throw new Error(`it answered ${response.status}`);
      const set = KeySet.parse(tryJson(await boundedText(response)));
      this.#known = { find: createLocalJWKSet(set), at: this.#clock.now() };
    } catch (error) {
      this.#log.warn(
        { url: this.#url, reason: reasonOf(error) },
        'the keys of the identity provider could not be fetched',
      );
    }
  }
}

/** Of `fetch` the cause says more than the error. */
function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) return 'it does not answer with a key set';
  return error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
}

async function boundedText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const body: AsyncIterable<Uint8Array> = response.body ?? Readable.from([]);
  for await (const part of body) {
    bytes += part.length;
    if (bytes > MAX_KEYS_BYTES) throw new Error(`its answer has more than ${MAX_KEYS_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
