import { z } from 'zod';
import type { Database } from '../database.js';
import { DarkbloomError } from '../errors.js';
import { parseBody } from '../inference/validation.js';
import type { Clock } from '../util/clock.js';
import { microFromUsd } from './billing.js';
import { flag, json, optional, wholeNumber } from './columns.js';
import { KeyChanges, NewKey } from './key-input.js';
import { SPENDING_WINDOWS, type SpendingWindow } from './spending-window.js';
import { hashOf, newId, newSecret } from './secrets.js';

const KEY_PREFIX = 'sk-db-';

/** `last_used_at` is written at most this often: every write is synced to the disk. */
const LAST_USED_RESOLUTION_MS = 60_000;

export interface ApiKey {
  id: string;
  accountId: string;
  name: string;
  /** What may be shown of the secret. */
  label: string;
  disabled: boolean;
  /** Names as clients send them; empty allows every model. */
  allowedModels: readonly string[];
  selfRouteOnly: boolean;
  /** Micro-USD that may be spent in each window; `undefined`: no limit of its own. */
  limitMicroUsd: bigint | undefined;
  /** `undefined`: what was spent counts for ever. */
  limitWindow: SpendingWindow | undefined;
  /** Requests, prompt tokens and output tokens in a minute; `undefined`: no limit. */
  rpmLimit: number | undefined;
  itpmLimit: number | undefined;
  otpmLimit: number | undefined;
  /** Milliseconds since the Unix epoch, like the other times. */
  expiresAt: number | undefined;
  createdAt: number;
  lastUsedAt: number | undefined;
}

const KeyRow = z
  .object({
    id: z.string(),
    account_id: z.string(),
    name: z.string(),
    label: z.string(),
    disabled: flag,
    allowed_models: json(z.array(z.string())),
    self_route_only: flag,
    limit_micro_usd: optional(z.bigint()),
    limit_window: optional(z.enum(SPENDING_WINDOWS)),
    rpm_limit: optional(wholeNumber),
    itpm_limit: optional(wholeNumber),
    otpm_limit: optional(wholeNumber),
    expires_at: optional(wholeNumber),
    created_at: wholeNumber,
    last_used_at: optional(wholeNumber),
  })
  .transform((row): ApiKey => ({
    id: row.id,
    accountId: row.account_id,
    name: row.name,
    label: row.label,
    disabled: row.disabled,
    allowedModels: row.allowed_models,
    selfRouteOnly: row.self_route_only,
    limitMicroUsd: row.limit_micro_usd,
    limitWindow: row.limit_window,
    rpmLimit: row.rpm_limit,
    itpmLimit: row.itpm_limit,
    otpmLimit: row.otpm_limit,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
  }));

/** The API keys of all accounts. Of a secret only its SHA-256 is stored. */
export class ApiKeys {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** `input` is the body of a request; `undefined` stands for none.
   *  @throws DarkbloomError `bad_request` naming the field. */
  create(accountId: string, input: unknown): { secret: string; key: ApiKey } {
    const { name, self_route_only: selfRouteOnly, ...wanted } = parseBody(NewKey, input ?? {}, 'bad_request');
    const now = this.#clock.now();
    const secret = newSecret(KEY_PREFIX);
    const key: ApiKey = {
      ...UNLIMITED,
      ...limitsOf(wanted, now),
      id: newId('key_'),
      accountId,
      name: name ?? '',
      label: labelOf(secret),
      disabled: false,
      selfRouteOnly: selfRouteOnly ?? false,
      createdAt: now,
      lastUsedAt: undefined,
    };
    this.#database.transaction(() => {
      this.#database.run(
        `INSERT INTO api_keys (id, hash, account_id, name, label, allowed_models, self_route_only, created_at)
         VALUES (?, ?, ?, ?, ?, '[]', 0, ?)`,
        key.id,
        hashOf(secret),
        accountId,
        key.name,
        key.label,
        now,
      );
      this.#store(key);
    });
    return { secret, key };
  }

  /** Changes what the body of a request names. `undefined` when the account has no such key.
   *  @throws DarkbloomError `bad_request` naming the field. */
  change(accountId: string, id: string, input: unknown): ApiKey | undefined {
    const { name, self_route_only: selfRouteOnly, disabled, ...wanted } = parseBody(KeyChanges, input, 'bad_request');
    return this.#database.transaction(() => {
      const key = this.find(accountId, id);
      if (key === undefined) return undefined;
      const changed: ApiKey = {
        ...key,
        ...limitsOf(wanted, this.#clock.now()),
        name: name === undefined ? key.name : (name ?? ''),
        selfRouteOnly: selfRouteOnly ?? key.selfRouteOnly,
        disabled: disabled ?? key.disabled,
      };
      this.#store(changed);
      return changed;
    });
  }

  /** A new secret for the key; the old one is dead at once. `undefined` when the account has no such key. */
  rotate(accountId: string, id: string): { secret: string; key: ApiKey } | undefined {
    const secret = newSecret(KEY_PREFIX);
    const label = labelOf(secret);
    return this.#database.transaction(() => {
      const key = this.find(accountId, id);
      if (key === undefined) return undefined;
      this.#database.run('UPDATE api_keys SET hash = ?, label = ? WHERE id = ?', hashOf(secret), label, id);
      return { secret, key: { ...key, label } };
    });
  }

  /** Writes all that can be changed. */
  #store(key: ApiKey): void {
    this.#database.run(
      `UPDATE api_keys SET name = ?, disabled = ?, allowed_models = ?, self_route_only = ?, limit_micro_usd = ?,
         limit_window = ?, rpm_limit = ?, itpm_limit = ?, otpm_limit = ?, expires_at = ? WHERE id = ?`,
      key.name,
      Number(key.disabled),
      JSON.stringify(key.allowedModels),
      Number(key.selfRouteOnly),
      key.limitMicroUsd ?? null,
      key.limitWindow ?? null,
      key.rpmLimit ?? null,
      key.itpmLimit ?? null,
      key.otpmLimit ?? null,
      key.expiresAt ?? null,
      key.id,
    );
  }

  /** The account's keys, oldest first. */
  list(accountId: string): ApiKey[] {
    return this.#database
      .all('SELECT * FROM api_keys WHERE account_id = ? ORDER BY created_at, rowid', accountId)
      .map((row) => KeyRow.parse(row));
  }

  /** `undefined` also for a key of another account. */
  find(accountId: string, id: string): ApiKey | undefined {
    return optionalKey(this.#database.get('SELECT * FROM api_keys WHERE id = ? AND account_id = ?', id, accountId));
  }

  /** The key is dead at once; what was used with it keeps its id. False when the account has no such key. */
  revoke(accountId: string, id: string): boolean {
    return this.#database.run('DELETE FROM api_keys WHERE id = ? AND account_id = ?', id, accountId) > 0;
  }

  /** The same for whoever shows the secret. False when it is no key of the account. */
  revokeSecret(accountId: string, secret: string): boolean {
    const sql = 'DELETE FROM api_keys WHERE hash = ? AND account_id = ?';
    return this.#database.run(sql, hashOf(secret), accountId) > 0;
  }

  /** The key whose secret has this SHA-256, noted as used now; `undefined` for an unknown, disabled or expired one. */
  authenticate(hash: string): ApiKey | undefined {
    const key = optionalKey(this.#database.get('SELECT * FROM api_keys WHERE hash = ?', hash));
    const now = this.#clock.now();
    if (key === undefined || key.disabled || (key.expiresAt !== undefined && key.expiresAt <= now)) return undefined;
    if (key.lastUsedAt !== undefined && now - key.lastUsedAt < LAST_USED_RESOLUTION_MS) return key;
    this.#database.run('UPDATE api_keys SET last_used_at = ? WHERE id = ?', now, key.id);
    return { ...key, lastUsedAt: now };
  }
}

/** A key as the consumer API shows it; what is not set is left out. `spent` is micro-USD in the window of now. */
export function keyView(key: ApiKey, spent: bigint) {
  const { limitMicroUsd: limit } = key;
  const rates = { rpm_limit: key.rpmLimit, itpm_limit: key.itpmLimit, otpm_limit: key.otpmLimit };
  return {
    id: key.id,
    name: key.name,
    label: key.label,
    disabled: key.disabled,
    ...(limit !== undefined && { limit_usd: usd(limit) }),
    limit_reset: key.limitWindow ?? 'none',
    usage_usd: usd(spent),
    ...(limit !== undefined && { remaining_usd: usd(limit > spent ? limit - spent : 0n) }),
    ...Object.fromEntries(Object.entries(rates).filter(([, rate]) => rate !== undefined)),
    ...(key.allowedModels.length > 0 && { allowed_models: key.allowedModels }),
    self_route_only: key.selfRouteOnly,
    ...(key.expiresAt !== undefined && { expires_at: new Date(key.expiresAt).toISOString() }),
    created_at: new Date(key.createdAt).toISOString(),
    ...(key.lastUsedAt !== undefined && { last_used_at: new Date(key.lastUsedAt).toISOString() }),
  };
}

function usd(micro: bigint): number {
  return Number(micro) / 1e6;
}

type Limits = Pick<
  ApiKey,
  'allowedModels' | 'limitMicroUsd' | 'limitWindow' | 'rpmLimit' | 'itpmLimit' | 'otpmLimit' | 'expiresAt'
>;

const UNLIMITED: Limits = {
  allowedModels: [],
  limitMicroUsd: undefined,
  limitWindow: undefined,
  rpmLimit: undefined,
  itpmLimit: undefined,
  otpmLimit: undefined,
  expiresAt: undefined,
};

/** The limits that a body names; `null` clears one.
 *  @throws DarkbloomError `bad_request` for an expiry that is not in the future. */
function limitsOf(wanted: Omit<KeyChanges, 'name' | 'self_route_only' | 'disabled'>, now: number): Partial<Limits> {
  const { limit_usd: limit, limit_reset: reset, expires_at: expires } = wanted;
  const expiresAt = typeof expires === 'string' ? Date.parse(expires) : undefined;
  if (expiresAt !== undefined && expiresAt <= now) {
    throw new DarkbloomError('bad_request', "'expires_at': must be in the future.", { param: 'expires_at' });
  }
  return {
    ...(wanted.allowed_models !== undefined && { allowedModels: wanted.allowed_models ?? [] }),
    ...(limit !== undefined && { limitMicroUsd: limit === null ? undefined : microFromUsd(limit) }),
    ...(reset !== undefined && { limitWindow: reset === null || reset === 'none' ? undefined : reset }),
    ...(wanted.rpm_limit !== undefined && { rpmLimit: rate(wanted.rpm_limit) }),
    ...(wanted.itpm_limit !== undefined && { itpmLimit: rate(wanted.itpm_limit) }),
    ...(wanted.otpm_limit !== undefined && { otpmLimit: rate(wanted.otpm_limit) }),
    ...(expires !== undefined && { expiresAt }),
  };
}

function rate(value: number | null): number | undefined {
  return value === null || value === 0 ? undefined : value;
}

function labelOf(secret: string): string {
  return `${secret.slice(0, KEY_PREFIX.length + 4)}...${secret.slice(-4)}`;
}

function optionalKey(row: Record<string, unknown> | undefined): ApiKey | undefined {
  return row === undefined ? undefined : KeyRow.parse(row);
}
