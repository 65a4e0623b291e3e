import { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import type { Caller } from './accounts.js';
import type { ApiKey } from './keys.js';

/** What one account or key may do in a minute; `undefined`: no limit. */
export interface Rates {
  requestsPerMinute?: number | undefined;
  inputTokensPerMinute?: number | undefined;
  outputTokensPerMinute?: number | undefined;
}

const MINUTE_MS = 60_000;
/** Buckets remembered; the one that was made first goes first, and begins full when it is needed again. */
const MAX_BUCKETS = 10_000;

const KINDS = {
  requests: { rate: 'requestsPerMinute', words: 'requests' },
  'input-tokens': { rate: 'inputTokensPerMinute', words: 'input tokens' },
  'output-tokens': { rate: 'outputTokensPerMinute', words: 'output tokens' },
} as const satisfies Record<string, { rate: keyof Rates; words: string }>;
type Kind = keyof typeof KINDS;

/** Holds a minute's worth and is filled evenly. Below nothing after more was used than had been foreseen. */
interface Bucket {
  level: number;
  filledAt: number;
}

/** One limit that a request meets. */
interface Met {
  kind: Kind;
  holder: 'key' | 'account';
  id: string;
  perMinute: number;
  amount: number;
}

interface RateLimitOptions {
  /** Of every account. */
  account: Rates;
  clock: Clock;
}

/** How often, and for how many tokens, keys and accounts may ask. Kept in memory: a restart fills every bucket. */
export class RateLimits {
  readonly #options: RateLimitOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: RateLimitOptions) {
    this.#options = options;
  }

  /** Counts one request of this caller.
   *  @returns headers for the answer.
   *  @throws RateLimited without counting anything. */
  request(caller: Caller): Record<string, string> {
    return this.#take(this.#met(caller, { requests: 1 }));
  }

  /** Counts what the prompt is estimated at, and the most that may be written. A request above a limit takes the whole
   *  minute.
   *  @returns headers for the answer.
   *  @throws RateLimited without counting anything. */
  tokens(caller: Caller, inputTokens: number, outputTokens: number): Record<string, string> {
    return this.#take(this.#met(caller, { 'input-tokens': inputTokens, 'output-tokens': outputTokens }));
  }

  /** More was written than had been counted. */
  excess(caller: Caller, outputTokens: number): void {
    if (outputTokens <= 0) return;
    for (const met of this.#met(caller, { 'output-tokens': outputTokens })) this.#bucket(met).level -= met.amount;
  }

  /** The key's limits before the account's. */
  #met(caller: Caller, amounts: Partial<Record<Kind, number>>): Met[] {
    const ofAccount = { holder: 'account', id: caller.account.id, rates: this.#options.account } as const;
    const holders =
      caller.via === 'key'
        ? [{ holder: 'key', id: caller.key.id, rates: ratesOf(caller.key) } as const, ofAccount]
        : [ofAccount];
    return holders.flatMap(({ holder, id, rates }) =>
      Object.entries(amounts).flatMap(([kind, amount]) => {
        const perMinute = rates[KINDS[kind as Kind].rate];
        return perMinute === undefined
          ? []
          : [{ kind: kind as Kind, holder, id, perMinute, amount: Math.min(amount, perMinute) }];
      }),
    );
  }

  #take(all: readonly Met[]): Record<string, string> {
    for (const met of all) {
      const bucket = this.#bucket(met);
      if (bucket.level < met.amount) throw this.#refusal(met, bucket);
    }
    for (const met of all) this.#bucket(met).level -= met.amount;
    return Object.assign({}, ...all.toReversed().map((met) => this.#headers(met))) as Record<string, string>;
  }

  #bucket({ kind, holder, id, perMinute }: Met): Bucket {
    const name = `${holder} ${id} ${kind}`;
    const now = this.#options.clock.now();
    let bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      const [oldest] = this.#buckets.size >= MAX_BUCKETS ? this.#buckets.keys() : [];
      if (oldest !== undefined) this.#buckets.delete(oldest);
      bucket = { level: perMinute, filledAt: now };
      this.#buckets.set(name, bucket);
    }
    const passed = Math.max(0, now - bucket.filledAt);
    bucket.level = Math.min(perMinute, bucket.level + (passed * perMinute) / MINUTE_MS);
    bucket.filledAt = now;
    return bucket;
  }

  /** The key's own headers win: they are written last. */
  #headers(met: Met): Record<string, string> {
    const { kind, perMinute } = met;
    const { level } = this.#bucket(met);
    const untilFullS = Math.ceil(((perMinute - level) * MINUTE_MS) / perMinute / 1_000);
    return {
      [`x-ratelimit-limit-${kind}`]: String(perMinute),
      [`x-ratelimit-remaining-${kind}`]: String(Math.max(0, Math.floor(level))),
      [`x-ratelimit-reset-${kind}`]: `${untilFullS}s`,
    };
  }

  #refusal(met: Met, bucket: Bucket): RateLimited {
    const { kind, holder, perMinute, amount } = met;
    const limit = `the ${holder}'s limit is ${perMinute} ${KINDS[kind].words} a minute`;
    const retryAfterS = Math.max(1, Math.ceil(((amount - bucket.level) * MINUTE_MS) / perMinute / 1_000));
    const message = `Too many ${KINDS[kind].words}: ${limit}. Try again in ${retryAfterS} s.`;
    const resetAt = Math.ceil(this.#options.clock.now() / 1_000) + retryAfterS;
    return new RateLimited(message, retryAfterS, { ...this.#headers(met), 'X-RateLimit-Reset': String(resetAt) });
  }
}

/** Refused for now; `headers` say when to come again. */
export class RateLimited extends DarkbloomError {
  readonly headers: Readonly<Record<string, string>>;

  constructor(message: string, retryAfterS: number, headers: Readonly<Record<string, string>>) {
    super('over_capacity', message, { retryAfterS });
    this.headers = headers;
  }
}

function ratesOf({ rpmLimit, itpmLimit, otpmLimit }: ApiKey): Rates {
  return { requestsPerMinute: rpmLimit, inputTokensPerMinute: itpmLimit, outputTokensPerMinute: otpmLimit };
}
