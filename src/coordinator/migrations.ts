import type { Migration } from '../database.js';

// Money is micro-USD, times are milliseconds since the Unix epoch, flags are 0 or 1.
// `ledger`, `usage` and `prices` name accounts without a foreign key: the platform has an account in the books only.
const FIRST = `
CREATE TABLE accounts (
  id TEXT PRIMARY KEY NOT NULL,
  name TEXT NOT NULL UNIQUE,
  is_owner INTEGER NOT NULL CHECK (is_owner IN (0, 1)),
  accept_unattested INTEGER NOT NULL CHECK (accept_unattested IN (0, 1)),
  created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX accounts_one_owner ON accounts (is_owner) WHERE is_owner = 1;

CREATE TABLE login_tokens (
  hash TEXT PRIMARY KEY NOT NULL,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE provider_tokens (
  hash TEXT PRIMARY KEY NOT NULL,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  label TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  name TEXT NOT NULL,
  label TEXT NOT NULL,
  disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  allowed_models TEXT NOT NULL,
  self_route_only INTEGER NOT NULL CHECK (self_route_only IN (0, 1)),
  expires_at INTEGER,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER
) STRICT;
CREATE INDEX api_keys_by_account ON api_keys (account_id);

CREATE TABLE device_codes (
  hash TEXT PRIMARY KEY NOT NULL,
  user_code TEXT NOT NULL UNIQUE,
  expires_at INTEGER NOT NULL,
  account_id TEXT REFERENCES accounts (id),
  redeemed INTEGER NOT NULL DEFAULT 0 CHECK (redeemed IN (0, 1))
) STRICT;
CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);

CREATE TABLE builds (
  id TEXT PRIMARY KEY NOT NULL,
  display_name TEXT NOT NULL,
  family TEXT NOT NULL,
  architecture TEXT NOT NULL,
  quantization TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  context_length INTEGER NOT NULL,
  max_output_length INTEGER NOT NULL,
  min_ram_gb REAL NOT NULL,
  weight_hash TEXT,
  files TEXT NOT NULL,
  source TEXT NOT NULL,
  capabilities TEXT NOT NULL,
  active INTEGER NOT NULL CHECK (active IN (0, 1)),
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE aliases (
  id TEXT PRIMARY KEY NOT NULL,
  display_name TEXT NOT NULL,
  desired_build TEXT NOT NULL,
  previous_build TEXT,
  retired_builds TEXT NOT NULL
) STRICT;

CREATE TABLE prices (
  build_id TEXT NOT NULL,
  account_id TEXT NOT NULL,
  input INTEGER NOT NULL CHECK (input > 0),
  output INTEGER NOT NULL CHECK (output > 0),
  PRIMARY KEY (build_id, account_id)
) STRICT;

CREATE TABLE ledger (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  account_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('admin_credit', 'charge', 'refund', 'payout', 'platform_fee')),
  amount_micro_usd INTEGER NOT NULL CHECK (amount_micro_usd <> 0),
  balance_after INTEGER NOT NULL CHECK (balance_after >= 0),
  withdrawable_after INTEGER NOT NULL CHECK (withdrawable_after BETWEEN 0 AND balance_after),
  reference TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX ledger_by_account ON ledger (account_id, seq);
CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TABLE open_holds (
  request_id TEXT PRIMARY KEY NOT NULL,
  account_id TEXT NOT NULL,
  key_id TEXT,
  amount INTEGER NOT NULL CHECK (amount > 0)
) STRICT;

CREATE TABLE usage (
  request_id TEXT PRIMARY KEY NOT NULL,
  account_id TEXT NOT NULL,
  key_id TEXT,
  alias TEXT NOT NULL,
  build TEXT NOT NULL,
  provider_id TEXT NOT NULL,
  provider_account_id TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens >= 0),
  completion_tokens INTEGER NOT NULL CHECK (completion_tokens >= 0),
  cost_micro_usd INTEGER NOT NULL CHECK (cost_micro_usd >= 0),
  route_mode TEXT NOT NULL CHECK (route_mode IN ('none', 'prefer', 'self')),
  free_self_route INTEGER NOT NULL CHECK (free_self_route IN (0, 1)),
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_by_account ON usage (account_id, created_at);
CREATE INDEX usage_by_key ON usage (key_id) WHERE key_id IS NOT NULL;
CREATE TRIGGER usage_no_update BEFORE UPDATE ON usage BEGIN SELECT RAISE(ABORT, 'usage is append-only'); END;
CREATE TRIGGER usage_no_delete BEFORE DELETE ON usage BEGIN SELECT RAISE(ABORT, 'usage is append-only'); END;
`;

// `limit_micro_usd` is what may be spent in each window; a window that is NULL never ends.
const KEY_LIMITS = `
ALTER TABLE api_keys ADD COLUMN limit_micro_usd INTEGER CHECK (limit_micro_usd >= 0);
ALTER TABLE api_keys ADD COLUMN limit_window TEXT CHECK (limit_window IN ('daily', 'weekly', 'monthly'));
ALTER TABLE api_keys ADD COLUMN rpm_limit INTEGER CHECK (rpm_limit > 0);
ALTER TABLE api_keys ADD COLUMN itpm_limit INTEGER CHECK (itpm_limit > 0);
ALTER TABLE api_keys ADD COLUMN otpm_limit INTEGER CHECK (otpm_limit > 0);
`;

// What an account earned is listed and summed, and what a key has on hold, without looking at other rows.
const MONEY_INDEXES = `
CREATE INDEX open_holds_by_key ON open_holds (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX ledger_payouts ON ledger (account_id, seq, amount_micro_usd) WHERE kind = 'payout';
`;

const DENIED_LOGINS = `
ALTER TABLE device_codes ADD COLUMN denied INTEGER NOT NULL DEFAULT 0 CHECK (denied IN (0, 1));
`;

// What an administrator said of a model stays; what came with the program or lies on this machine follows each start.
const MODEL_ORIGINS = `
ALTER TABLE builds ADD COLUMN origin TEXT NOT NULL DEFAULT 'shipped' CHECK (origin IN ('shipped', 'admin'));
ALTER TABLE builds ADD COLUMN version TEXT NOT NULL DEFAULT 'v1';
ALTER TABLE builds ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE builds ADD COLUMN runtime_parameters TEXT NOT NULL DEFAULT '{}';
ALTER TABLE builds ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE aliases ADD COLUMN origin TEXT NOT NULL DEFAULT 'shipped' CHECK (origin IN ('shipped', 'admin'));
`;

const IDENTITIES = `
CREATE TABLE identities (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  created_at INTEGER NOT NULL,
  PRIMARY KEY (issuer, subject)
) STRICT;
`;

/** The coordinator's schema, step by step. */
export const MIGRATIONS: readonly Migration[] = [
  { name: 'accounts, models and money', sql: FIRST },
  { name: 'limits of keys', sql: KEY_LIMITS },
  { name: 'indexes for money', sql: MONEY_INDEXES },
  { name: 'denied logins of machines', sql: DENIED_LOGINS },
  { name: 'who said what of a model', sql: MODEL_ORIGINS },
  { name: 'accounts of an identity provider', sql: IDENTITIES },
];
