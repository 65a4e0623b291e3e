import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse as parseToml, TomlError } from 'smol-toml';
import { z } from 'zod';
import { DarkbloomError } from './errors.js';
import { coordinatorAddress } from './util/coordinator-address.js';
import { nearest } from './util/nearest.js';
import { flag, gigabytes, isKeyAddress, nameList, text, wholeNumber } from './util/setting-values.js';
import { tomlHeaderLineOf, tomlLineOf } from './util/toml-edit.js';

const MAX_ROWS = 24; // the coordinator clamps a slot's max_concurrency here: docs/routing.md
const MIN_CONTEXT_TOKENS = 256;
const MAX_CONTEXT_TOKENS = 10_000_000;
const MAX_LOADED_MODELS = 64;
const MAX_IDLE_MINUTES = 7 * 24 * 60;
const MAX_LAYERS = 1_000;
const MAX_RATE = 1_000_000_000;
const MODEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** Every setting, its default and its meaning. The file is TOML with these tables; environment variables are
 *  `DARKBLOOM_PROVIDER_` and the key in capitals (`http.port` is `DARKBLOOM_PROVIDER_HTTP_PORT`). */
export const Settings = z.strictObject({
  http: z
    .strictObject({
      host: z
        .string('must be a text')
        .min(1, 'must not be empty')
        .default('127.0.0.1')
        .describe('Address the HTTP port is bound to'),
      port: wholeNumber(0, 65535).default(8000).describe('HTTP port; 0 takes a free one'),
      tls_cert: z
        .string('must be the path of a PEM file')
        .min(1, 'must be the path of a PEM file')
        .optional()
        .describe('Certificate (PEM, with its chain) for TLS on the port; programs on this machine need none'),
      tls_key: z
        .string('must be the path of a PEM file')
        .min(1, 'must be the path of a PEM file')
        .optional()
        .describe('Private key (PEM) of http.tls_cert'),
      accept_clear: flag(false).describe('Do not warn that keys and link tokens cross the network without TLS'),
    })
    .refine(({ tls_cert: cert, tls_key: key }) => (cert === undefined) === (key === undefined), {
      path: ['tls_cert'],
      error: 'http.tls_cert and http.tls_key are set together',
    })
    .prefault({}),
  coordinator: z
    .strictObject({
      url: z
        .string()
        .refine((url) => coordinatorAddress(url) !== undefined, 'must be an address like http://studio.local:8787')
        .transform((url) => coordinatorAddress(url) ?? url)
        .optional()
        .describe('Address of the coordinator to serve; none: this machine is its own coordinator'),
      port: wholeNumber(0, 65535).default(8787).describe('Port of a coordinator that runs alone'),
      self_route_default: z
        .enum(['self', 'none'])
        .default('self')
        .describe("What a request of the owner's account without X-Darkbloom-Route means"),
      fee_percent: wholeNumber(0, 100).default(0).describe("The coordinator's part of a paid request, percent"),
      account_requests_per_minute: wholeNumber(1, MAX_RATE)
        .optional()
        .describe('Requests that each account may send in a minute; none: no limit'),
      account_input_tokens_per_minute: wholeNumber(1, MAX_RATE)
        .optional()
        .describe('Tokens of prompts that each account may send in a minute, estimated; none: no limit'),
      account_output_tokens_per_minute: wholeNumber(1, MAX_RATE)
        .optional()
        .describe('Tokens that each account may ask for in a minute; none: no limit'),
    })
    .prefault({}),
  identity: z
    .strictObject({
      issuer: text().optional().describe('Who signs the tokens with which people sign in (`iss`); none: nobody does'),
      audience: text().optional().describe('Whom those tokens are made for (`aud`): the id of your application there'),
      jwks_url: z
        .string('must be an address')
        .refine(isKeyAddress, 'must be an address like https://auth.example.com/jwks.json; http only to this machine')
        .optional()
        .describe('Where the provider publishes its keys; or identity.public_key_file'),
      public_key_file: text().optional().describe("Path of the provider's one public key in PEM"),
    })
    .superRefine((identity, context) => {
      const problem = identityProblem(identity);
      if (problem !== undefined) context.addIssue({ code: 'custom', path: [problem.key], message: problem.message });
    })
    .prefault({}),
  provider: z
    .strictObject({
      serve_others: flag(false).describe('Serve other accounts of the coordinator, not the owner alone'),
      keep_awake: z
        .enum(['on_ac', 'busy', 'never'])
        .default('on_ac')
        .describe('When a Mac is kept from idle sleep: on mains power, while requests run, never'),
    })
    .prefault({}),
  engine: z
    .strictObject({
      slots: wholeNumber(1, MAX_ROWS).default(4).describe('Requests that one model runs at once'),
      context_tokens: wholeNumber(MIN_CONTEXT_TOKENS, MAX_CONTEXT_TOKENS)
        .default(8192)
        .describe("Context of each request, in tokens; at most the model's own"),
      threads: wholeNumber(1, 256).optional().describe('CPU threads of a model; none: one less than the cores'),
      memory_limit_gb: gigabytes()
        .optional()
        .describe('Memory that all loaded models may take together, GB; none: what the machine lets its GPU have'),
      max_loaded_models: wholeNumber(1, MAX_LOADED_MODELS)
        .optional()
        .describe('Models in memory at once; none: as many as fit'),
      idle_unload_minutes: wholeNumber(0, MAX_IDLE_MINUTES)
        .default(30)
        .describe('A model gives its memory back after so long without a request; 0: never'),
      gpu_layers: z
        .union(
          [z.literal('auto'), wholeNumber(0, MAX_LAYERS)],
          `must be auto or a whole number from 0 to ${MAX_LAYERS}`,
        )
        .default('auto')
        .describe('Layers of a model on the GPU; auto: as many as fit; without a GPU none'),
      flash_attention: z
        .enum(['auto', 'on', 'off'])
        .default('auto')
        .describe('Attention that takes less memory; auto: where model and GPU can'),
      kv_type: z
        .enum(['f16', 'q8_0', 'q4_0'])
        .default('f16')
        .describe('How exactly a request remembers its tokens; q8_0 takes half the memory of f16, q4_0 a quarter'),
      mmap: z
        .enum(['auto', 'on', 'off'])
        .default('auto')
        .describe('Map the weights from the file instead of copying them; auto: where the GPU can use them so'),
      mlock: flag(false).describe('Lock the weights into memory, so that the system never swaps them out'),
    })
    .refine(({ kv_type: type, flash_attention: flash }) => type === 'f16' || flash !== 'off', {
      path: ['kv_type'],
      error: 'q8_0 and q4_0 need flash attention: set engine.flash_attention to auto or on',
    })
    .prefault({}),
  models: z
    .strictObject({
      files: z
        .record(
          z.string().regex(MODEL_NAME, 'a model name is letters, digits, dot, dash and underscore'),
          z.string('must be the path of a GGUF file').min(1, 'must be the path of a GGUF file'),
          'must be a table of lines like name = "/path/to/model.gguf"',
        )
        .default({})
        .describe('Own GGUF files: name = "/path/to/model.gguf"'),
      download_from: z
        .string()
        .refine((url) => coordinatorAddress(url) !== undefined, 'must be an address like https://huggingface.co')
        .default('https://huggingface.co')
        .describe('Where models are downloaded from: Hugging Face, or a mirror laid out like it'),
      keep_loaded: nameList()
        .default([])
        .describe('Models that are loaded at the start and stay in memory, by alias or build id'),
      follow_coordinator: flag(false).describe(
        'Download builds of the catalogue that the coordinator asks this machine to have',
      ),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('What the log keeps'),
    })
    .prefault({}),
});
export type Settings = z.infer<typeof Settings>;

type IdentityKey = 'issuer' | 'audience' | 'jwks_url' | 'public_key_file';

/** An identity provider is set as a whole or not at all. */
function identityProblem(
  identity: Partial<Record<IdentityKey, string | undefined>>,
): { key: IdentityKey; message: string } | undefined {
  const [key] = (Object.keys(identity) as IdentityKey[]).filter((name) => identity[name] !== undefined);
  if (key === undefined) return undefined;
  for (const needed of ['issuer', 'audience'] as const) {
    if (identity[needed] === undefined) return { key, message: `needs identity.${needed} beside it` };
  }
  if (identity.jwks_url === undefined && identity.public_key_file === undefined) {
    return { key, message: 'needs identity.jwks_url or identity.public_key_file beside it' };
  }
  if (identity.jwks_url !== undefined && identity.public_key_file !== undefined) {
    return { key: 'public_key_file', message: 'set this or identity.jwks_url, not both' };
  }
  return undefined;
}

/** Where everything of this installation lies. */
export interface Home {
  folder: string;
  config: string;
  /** The login token of the owner of the coordinator in this home, 0600. */
  ownerToken: string;
  /** The owner's API key of that coordinator, 0600: local clients keep it from run to run. */
  ownerKey: string;
  /** Links this provider to the coordinator in the same home, 0600. */
  selfLinkToken: string;
  /** Links this provider to the coordinator at `coordinator.url`, 0600. */
  linkToken: string;
  /** What clients of the direct endpoint show, 0600. */
  localToken: string;
  /** Where the command line reaches the running daemon; a socket that only its owner may open. */
  controlSocket: string;
  /** Base URL and key for local clients while a daemon runs, 0600. */
  discovery: string;
  /** Leads a browser to the console, 0600; only while `local --open` waits for it. */
  consoleLink: string;
  /** The usage journal: requests and tokens by day and model, 0600. */
  usage: string;
  /** A usage journal that was damaged, as it was found. */
  usageSetAside: string;
  database: string;
  /** The books that a restore took the place of. */
  databaseSetAside: string;
}

export function homeAt(folder: string): Home {
  return {
    folder,
    config: join(folder, 'config.toml'),
    ownerToken: join(folder, 'owner-token'),
    ownerKey: join(folder, 'owner-key'),
    selfLinkToken: join(folder, 'self-link-token'),
    linkToken: join(folder, 'link-token'),
    localToken: join(folder, 'local-token'),
    controlSocket: join(folder, 'control.sock'),
    discovery: join(folder, 'local.json'),
    consoleLink: join(folder, 'open-console.html'),
    usage: join(folder, 'usage.json'),
    usageSetAside: join(folder, 'usage.damaged.json'),
    database: join(folder, 'coordinator.db'),
    databaseSetAside: join(folder, 'coordinator.before-restore.db'),
  };
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** The one place that reads the process environment. */
export const environment: Environment = process.env;

export function findHome(env: Environment): Home {
  return homeAt(resolve(env['DARKBLOOM_PROVIDER_HOME'] ?? join(homedir(), '.darkbloom-provider')));
}

/** Folders of a home. */
export const homeFolders = ['models', 'logs', 'bin'] as const;

/** All that this program ever puts into a home: what `uninstall` may remove from it. */
export function homeEntries({ folder, ...files }: Home): string[] {
  const folders = homeFolders.map((name) => join(folder, name));
  const journals = [files.database, files.databaseSetAside].flatMap((path) => [`${path}-wal`, `${path}-shm`]);
  return [...Object.values(files), ...journals, ...folders];
}

/** Values by dotted key (`http.port`), as far as one source gives them. */
export type Values = Readonly<Record<string, unknown>>;

/** Every dotted key, in the order of the schema. */
export const SETTING_KEYS: readonly string[] = Object.entries(Settings.shape).flatMap(([table, schema]) =>
  Object.keys(schema.unwrap().shape).map((key) => `${table}.${key}`),
);

/** Flags win over environment, environment over file, file over defaults.
 *  @throws DarkbloomError `config_invalid`, naming the key, its source and, for the file, the line. */
function resolveSettings(sources: { file: Values; env: Values; flags: Values }, where: Whereabouts): Settings {
  const merged: Record<string, Record<string, unknown>> = {};
  for (const [key, value] of Object.entries({ ...sources.file, ...sources.env, ...sources.flags })) {
    const [table = '', name = ''] = splitKey(key);
    (merged[table] ??= {})[name] = value;
  }
  const parsed = Settings.safeParse(merged);
  if (parsed.success) return Object.freeze(parsed.data);
  const issue = parsed.error.issues[0];
  const path = issue?.path.map(String) ?? [];
  const key = path.slice(0, 2).join('.');
  const rest = path.slice(2).join('.');
  const reason = issue?.code === 'invalid_key' ? issue.issues[0]?.message : issue?.message;
  throw new DarkbloomError(
    'config_invalid',
    `${where(key, path)}: ${key}${rest === '' ? '' : ` (${rest})`}: ${reason ?? 'invalid'}.`,
    { param: key },
  );
}

/** Says where a key was set, for an error: a line of the file, a variable, a flag. */
type Whereabouts = (key: string, path: readonly string[]) => string;

function splitKey(key: string): [string, string] {
  const dot = key.indexOf('.');
  return [key.slice(0, dot), key.slice(dot + 1)];
}

/** Settings of this run.
 *  @throws DarkbloomError `config_invalid` for a file that cannot be read, is not TOML or holds an unknown key or value. */
export function loadSettings(home: Home, env: Environment, flags: Values): Settings {
  const text = readConfigText(home.config);
  const file = fileValues(text, home.config);
  const fromEnv = environmentValues(env);
  return resolveSettings({ file, env: fromEnv, flags }, (key, path) => {
    if (key in flags) return 'command line';
    if (key in fromEnv) return variableName(key);
    return `${home.config}, line ${lineOf(text, path)}`;
  });
}

/** A setting, its value now and who set it. */
export const ExplainedSetting = z.strictObject({
  key: z.string().describe('Dotted key, as in `config set`'),
  value: z.unknown().optional().describe('Value at the next start; absent: not set, and without a default'),
  origin: z.string().describe('`default`, the variable, or file and line'),
  meaning: z.string().describe('What the setting does'),
});
export type ExplainedSetting = z.infer<typeof ExplainedSetting>;

/** Every setting as the next start would see it.
 *  @throws DarkbloomError `config_invalid`. */
export function explainSettings(home: Home, env: Environment): ExplainedSetting[] {
  const settings: Record<string, Record<string, unknown>> = loadSettings(home, env, {});
  const text = readConfigText(home.config);
  const file = fileValues(text, home.config);
  const fromEnv = environmentValues(env);
  return SETTING_KEYS.map((key) => {
    const [table, name] = splitKey(key);
    const value = settings[table]?.[name];
    const inFile = key in file ? `${home.config}, line ${lineOf(text, key.split('.'))}` : 'default';
    return {
      key,
      ...(value === undefined ? {} : { value }),
      origin: key in fromEnv ? variableName(key) : inFile,
      meaning: meaningOf(table, name),
    };
  });
}

function meaningOf(table: string, name: string): string {
  const tables: Record<string, { unwrap: () => { shape: Record<string, z.ZodType> } }> = Settings.shape;
  return tables[table]?.unwrap().shape[name]?.description ?? '';
}

/** The settings file as JSON Schema, for editors. */
export function settingsSchema(): object {
  return z.toJSONSchema(Settings, { io: 'input', unrepresentable: 'any' });
}

/** The text of a settings file, empty when there is none.
 *  @throws DarkbloomError `config_invalid`. */
export function readConfigText(path: string): string {
  try {
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  } catch (cause) {
    throw new DarkbloomError('config_invalid', `${path} cannot be read. Check that it is a file you may read.`, {
      cause,
    });
  }
}

/** The dotted keys of a settings file.
 *  @throws DarkbloomError `config_invalid` with line and key. */
export function fileValues(text: string, path: string): Values {
  let tables: Record<string, unknown>;
  try {
    tables = parseToml(text);
  } catch (cause) {
    const at = cause instanceof TomlError ? `, line ${cause.line}, column ${cause.column}` : '';
    const what = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : '';
    throw new DarkbloomError('config_invalid', `${path}${at}: ${what}`, { cause });
  }
  const values: Record<string, unknown> = {};
  for (const [table, content] of Object.entries(tables)) {
    const known = SETTING_KEYS.some((key) => key.startsWith(`${table}.`));
    const keys =
      isTable(content) && (known || Object.keys(content).length > 0)
        ? Object.keys(content).map((key) => `${table}.${key}`)
        : [table];
    for (const key of keys) {
      if (!SETTING_KEYS.includes(key)) throw unknownKey(key, `${path}, line ${lineOf(text, key.split('.'))}`);
      values[key] = isTable(content) ? content[splitKey(key)[1]] : content;
    }
  }
  return values;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unknownKey(key: string, where: string): DarkbloomError {
  const meant = nearest(key, SETTING_KEYS);
  const hint = meant === undefined ? `Known keys: ${SETTING_KEYS.join(', ')}.` : `Did you mean ${meant}?`;
  return new DarkbloomError('config_invalid', `${where}: unknown key ${key}. ${hint}`, { param: key });
}

/** The line (from 1) that sets what has this path, or begins its table. */
function lineOf(text: string, path: readonly string[]): number {
  return tomlLineOf(text, path) ?? tomlHeaderLineOf(text, path.slice(0, 2)) ?? 1;
}

/** The variable that sets a dotted key. */
export function variableName(key: string): string {
  return `DARKBLOOM_PROVIDER_${key.toUpperCase().replaceAll('.', '_')}`;
}

/** For a command that writes the key to the file, where it would change nothing.
 *  @throws DarkbloomError `usage`. */
export function refuseIfSetByVariable(env: Environment, key: string): void {
  const name = variableName(key);
  if (env[name] === undefined) return;
  throw new DarkbloomError('usage', `${name} is set here and wins over the settings file. Unset it first.`);
}

/** Settings given by environment variables. An unknown `DARKBLOOM_PROVIDER_` name is an error, not ignored.
 *  @throws DarkbloomError `config_invalid`. */
function environmentValues(env: Environment): Values {
  const byVariable = new Map(SETTING_KEYS.map((key) => [variableName(key), key]));
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('DARKBLOOM_PROVIDER_') || name === 'DARKBLOOM_PROVIDER_HOME') continue;
    const key = byVariable.get(name);
    if (key === undefined) {
      const meant = nearest(name, [...byVariable.keys()]);
      throw new DarkbloomError(
        'config_invalid',
        `unknown environment variable ${name}.${meant === undefined ? '' : ` Did you mean ${meant}?`}`,
      );
    }
    values[key] = key === 'models.files' ? parseFilesVariable(value ?? '') : value;
  }
  return values;
}

/** `name=/path,name=/path`. */
function parseFilesVariable(text: string): Record<string, string> {
  const pairs = text.split(',').filter((pair) => pair !== '');
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}
