import { z } from 'zod';
import type { Database } from '../database.js';
import { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';
import { flag, json, optional, wholeNumber } from './columns.js';
import { hashOf, newId, newSecret } from './secrets.js';

const KEY_PREFIX = 'sk-db-';
const MAX_KEY_NAME_LENGTH = 100;
const MAX_ALLOWED_MODELS = 256;

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
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
  }));

const NOT_ENFORCED = 'this coordinator does not enforce it yet, so a key cannot have it; leave it out';

/** Zero says "no limit" for a rate, but "may spend nothing" for money: only the first may pass unenforced. */
const noRateLimit = z.literal(0, NOT_ENFORCED).nullish();

const KeyInput = z.strictObject({
  name: z.string().trim().max(MAX_KEY_NAME_LENGTH).nullish(),
  limit_usd: z.null(NOT_ENFORCED).optional(),
  limit_reset: z.literal('none', NOT_ENFORCED).nullish(),
  rpm_limit: noRateLimit,
  itpm_limit: noRateLimit,
  otpm_limit: noRateLimit,
  allowed_models: z.array(z.string().trim().min(1)).max(MAX_ALLOWED_MODELS).nullish(),
  self_route_only: z.boolean().nullish(),
  expires_at: z.iso.datetime({ offset: true, error: 'must be an RFC 3339 time' }).nullish(),
});

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
    const wanted = parseInput(input);
    const now = this.#clock.now();
    const expiresAt = wanted.expires_at ? Date.parse(wanted.expires_at) : undefined;
    if (expiresAt !== undefined && expiresAt <= now) {
      throw new DarkbloomError('bad_request', 'expires_at: must be in the future', { param: 'expires_at' });
    }
    const secret = newSecret(KEY_PREFIX);
    const key: ApiKey = {
      id: newId('key_'),
      accountId,
      name: wanted.name ?? '',
      label: labelOf(secret),
      disabled: false,
      allowedModels: wanted.allowed_models ?? [],
      selfRouteOnly: wanted.self_route_only ?? false,
      expiresAt,
      createdAt: now,
      lastUsedAt: undefined,
    };
    this.#database.run(
      `INSERT INTO api_keys (id, hash, account_id, name, label, allowed_models, self_route_only, expires_at, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      key.id,
      hashOf(secret),
      accountId,
      key.name,
      key.label,
      JSON.stringify(key.allowedModels),
      Number(key.selfRouteOnly),
      expiresAt ?? null,
      now,
    );
    return { secret, key };
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

  /** A disabled key is refused until it is enabled again. False when the account has no such key. */
  setDisabled(accountId: string, id: string, disabled: boolean): boolean {
    const sql = 'UPDATE api_keys SET disabled = ? WHERE id = ? AND account_id = ?';
    return this.#database.run(sql, Number(disabled), id, accountId) > 0;
  }

  /** The key is dead at once; what was used with it keeps its id. False when the account has no such key. */
  revoke(accountId: string, id: string): boolean {
    return this.#database.run('DELETE FROM api_keys WHERE id = ? AND account_id = ?', id, accountId) > 0;
  }

  /** The key behind a secret, noted as used now; `undefined` for an unknown, disabled or expired one. */
  authenticate(secret: string): ApiKey | undefined {
    const key = optionalKey(this.#database.get('SELECT * FROM api_keys WHERE hash = ?', hashOf(secret)));
    const now = this.#clock.now();
    if (key === undefined || key.disabled || (key.expiresAt !== undefined && key.expiresAt <= now)) return undefined;
    if (key.lastUsedAt !== undefined && now - key.lastUsedAt < LAST_USED_RESOLUTION_MS) return key;
    this.#database.run('UPDATE api_keys SET last_used_at = ? WHERE id = ?', now, key.id);
    return { ...key, lastUsedAt: now };
  }
}

/** A key as the consumer API shows it; what is not set is left out. `usageUsd` is what was spent with it. */
export function keyView(key: ApiKey, usageUsd: number) {
  return {
    id: key.id,
    name: key.name,
    label: key.label,
    disabled: key.disabled,
    limit_reset: 'none',
    usage_usd: usageUsd,
    ...(key.allowedModels.length > 0 && { allowed_models: key.allowedModels }),
    self_route_only: key.selfRouteOnly,
    ...(key.expiresAt !== undefined && { expires_at: new Date(key.expiresAt).toISOString() }),
    created_at: new Date(key.createdAt).toISOString(),
    ...(key.lastUsedAt !== undefined && { last_used_at: new Date(key.lastUsedAt).toISOString() }),
  };
}

function parseInput(input: unknown): z.infer<typeof KeyInput> {
  const parsed = KeyInput.safeParse(input ?? {});
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.code === 'unrecognized_keys' ? issue.keys[0] : issue?.path[0]?.toString();
  const message = issue?.message ?? 'invalid';
  if (field === undefined) throw new DarkbloomError('bad_request', message);
  throw new DarkbloomError('bad_request', `${field}: ${message}`, { param: field });
}

function labelOf(secret: string): string {
  return `${secret.slice(0, KEY_PREFIX.length + 4)}...${secret.slice(-4)}`;
}

function optionalKey(row: Record<string, unknown> | undefined): ApiKey | undefined {
  return row === undefined ? undefined : KeyRow.parse(row);
}
