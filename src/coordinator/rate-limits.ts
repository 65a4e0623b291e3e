import { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import type { ApiKey } from './keys.js';

const MINUTE_MS = 60_000;
/** Keys whose use is remembered. The one that was used longest ago is forgotten, and begins anew. */
const MAX_KEYS = 10_000;

/** What is limited in a minute, and the word for it in header names. */
const KINDS = { requests: 'rpmLimit', 'input-tokens': 'itpmLimit', 'output-tokens': 'otpmLimit' } as const;
type Kind = keyof typeof KINDS;

/** A bucket fills evenly, a minute from empty to full. */
interface Bucket {
  left: number;
  at: number;
}

/** `x-ratelimit-…` headers by name. */
type Headers = Record<string, string>;

/** How much each key may ask for in a minute. Kept in memory: a restart forgives. */
export class RateLimits {
  readonly #clock: Clock;
  readonly #keys = new Map<string, Partial<Record<Kind, Bucket>>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts one request. The headers tell what is left; a key without the limit has none.
   *  @throws DarkbloomError `over_capacity`. */
  admitRequest(key: ApiKey): Headers {
    return this.#admit(key, { requests: 1 });
  }

  /** Counts a request's tokens before it is sent: both kinds, or neither. A request that is larger than the limit itself
   *  takes a whole minute's share.
   *  @throws DarkbloomError `over_capacity`. */
  admitTokens(key: ApiKey, tokens: { input: number; output: number }): Headers {
    return this.#admit(key, { 'input-tokens': tokens.input, 'output-tokens': tokens.output });
  }

  #admit(key: ApiKey, wanted: Partial<Record<Kind, number>>): Headers {
    const now = this.#clock.now();
    const takes = (Object.keys(wanted) as Kind[]).flatMap((kind) => {
      const limit = key[KINDS[kind]];
      if (limit === undefined) return [];
      const left = this.#left(key.id, kind, limit, now);
      return [{ kind, limit, left, amount: Math.min(wanted[kind] ?? 0, limit) }];
    });
    for (const { kind, limit, left, amount } of takes) {
      if (amount > left) throw refused(kind, limit, amount - left);
    }
    for (const { kind, left, amount } of takes) this.#put(key.id, kind, { left: left - amount, at: now });
    return Object.fromEntries(takes.flatMap(({ kind, limit, left, amount }) => headers(kind, limit, left - amount)));
  }

  #left(keyId: string, kind: Kind, limit: number, now: number): number {
    const bucket = this.#keys.get(keyId)?.[kind];
    if (bucket === undefined) return limit;
    return Math.min(limit, bucket.left + ((now - bucket.at) * limit) / MINUTE_MS);
  }

  #put(keyId: string, kind: Kind, bucket: Bucket): void {
    const buckets = { ...this.#keys.get(keyId), [kind]: bucket };
    this.#keys.delete(keyId); // the newest stands last
    this.#keys.set(keyId, buckets);
    const [oldest] = this.#keys.keys();
    if (this.#keys.size > MAX_KEYS && oldest !== undefined) this.#keys.delete(oldest);
  }
}

function headers(kind: Kind, limit: number, left: number): [name: string, value: string][] {
  return [
    [`x-ratelimit-limit-${kind}`, String(limit)],
    [`x-ratelimit-remaining-${kind}`, String(Math.floor(left))],
    [`x-ratelimit-reset-${kind}`, `${secondsFor(limit - left, limit)}s`],
  ];
}

function refused(kind: Kind, limit: number, missing: number): DarkbloomError {
  const what = kind.replace('-', ' ');
  return new DarkbloomError(
    'over_capacity',
    `This key may use ${limit} ${what} in a minute; try again a little later.`,
    {
      retryAfterS: Math.max(1, secondsFor(missing, limit)),
    },
  );
}

/** Until so much has come back. */
function secondsFor(amount: number, limit: number): number {
  return Math.ceil((amount / limit) * (MINUTE_MS / 1_000));
}
