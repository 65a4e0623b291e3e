import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  findHome,
  homeAt,
  loadSettings,
  SETTING_KEYS,
  type Environment,
  type Home,
  type Values,
} from '../src/config.js';
import { DarkbloomError } from '../src/errors.js';

let home: Home;
beforeEach(() => {
  home = homeAt(mkdtempSync(join(tmpdir(), 'config-')));
});
afterEach(() => rmSync(home.folder, { recursive: true }));

function load(sources: { file?: string; env?: Environment; flags?: Values }) {
  if (sources.file !== undefined) writeFileSync(home.config, sources.file);
  return loadSettings(home, sources.env ?? {}, sources.flags ?? {});
}

function refusal(sources: Parameters<typeof load>[0]): DarkbloomError {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof DarkbloomError) return error;
    throw error;
  }
  throw new Error('The settings were taken.');
}

const ENGINE_DEFAULTS = {
  slots: 4,
  context_tokens: 8192,
  idle_unload_minutes: 30,
  gpu_layers: 'auto',
  flash_attention: 'auto',
  kv_type: 'f16',
  mmap: 'auto',
  mlock: false,
};

describe('where a setting comes from', () => {
  const file = '[http]\nport = 1001\n';
  const env = { DARKBLOOM_PROVIDER_HTTP_PORT: '1002' };
  const flags = { 'http.port': '1003' };
  test.each([
    ['defaults alone', {}, 8000],
    ['the file wins over the default', { file }, 1001],
    ['the environment wins over the file', { file, env }, 1002],
    ['a flag wins over all', { file, env, flags }, 1003],
    ['a flag wins without the others', { flags }, 1003],
  ])('%s', (_, sources, port) => {
    expect(load(sources).http.port).toBe(port);
  });

  test('a source that sets one key of a table leaves the others alone', () => {
    const settings = load({
      file: '[http]\nhost = "0.0.0.0"\n[engine]\nslots = 2',
      env,
      flags: { 'engine.threads': 3 },
    });
    expect(settings.http).toEqual({ host: '0.0.0.0', port: 1002, accept_clear: false });
    expect(settings.engine).toEqual({ ...ENGINE_DEFAULTS, slots: 2, threads: 3 });
  });

  test('without any source every setting has its default', () => {
    expect(load({})).toEqual({
      http: { host: '127.0.0.1', port: 8000, accept_clear: false },
      coordinator: { port: 8787, self_route_default: 'self', fee_percent: 0 },
      identity: {},
      provider: { serve_others: false, keep_awake: 'on_ac' },
      engine: ENGINE_DEFAULTS,
      models: { files: {}, download_from: 'https://huggingface.co', keep_loaded: [], follow_coordinator: false },
      log: { level: 'info' },
    });
  });

  test.each<[string, string, string, string, unknown]>([
    ['GB in fractions', 'engine', 'memory_limit_gb', '4.5', 4.5],
    ['a number of layers', 'engine', 'gpu_layers', '20', 20],
    ['a word in place of layers', 'engine', 'gpu_layers', 'auto', 'auto'],
    ['no time at all', 'engine', 'idle_unload_minutes', '0', 0],
    ['a list parted by commas', 'models', 'keep_loaded', 'qwen,local/gemma-q4', ['qwen', 'local/gemma-q4']],
    ['an empty list', 'models', 'keep_loaded', '', []],
  ])('%s come from a variable, and from the file as text', (_, table, key, text, value) => {
    const settings: Record<string, Record<string, unknown>> = load({
      env: { [`DARKBLOOM_PROVIDER_${table}_${key}`.toUpperCase()]: text },
    });
    expect(settings[table]?.[key]).toEqual(value);
    const fromFile: Record<string, Record<string, unknown>> = load({ file: `[${table}]\n${key} = "${text}"\n` });
    expect(fromFile[table]?.[key]).toEqual(value);
  });

  test('numbers and lists of the file are taken as they are', () => {
    const { engine, models } = load({
      file: '[engine]\nmemory_limit_gb = 12.5\ngpu_layers = 0\n[models]\nkeep_loaded = ["qwen", "gemma"]\n',
    });
    expect(engine).toMatchObject({ memory_limit_gb: 12.5, gpu_layers: 0 });
    expect(models.keep_loaded).toEqual(['qwen', 'gemma']);
  });

  test('the settings cannot be changed afterwards', () => {
    expect(Object.isFrozen(load({}))).toBe(true);
  });

  test('own models come from a table of the file or from one variable', () => {
    expect(load({ file: '[models.files]\nmine = "/a.gguf"\n' }).models.files).toEqual({ mine: '/a.gguf' });
    const both = load({ env: { DARKBLOOM_PROVIDER_MODELS_FILES: 'mine=/b=c.gguf,other=/d.gguf' } });
    expect(both.models.files).toEqual({ mine: '/b=c.gguf', other: '/d.gguf' });
  });

  test('the address of a coordinator loses its last slash', () => {
    expect(load({ flags: { 'coordinator.url': 'http://mac.local:8787/' } }).coordinator.url).toBe(
      'http://mac.local:8787',
    );
  });

  test.each([
    ['true', true],
    ['false', false],
  ])('a switch takes the word %s from the environment', (word, value) => {
    expect(load({ env: { DARKBLOOM_PROVIDER_PROVIDER_SERVE_OTHERS: word } }).provider.serve_others).toBe(value);
  });

  test('the home folder is set by a variable, and lies in the home of the user otherwise', () => {
    expect(findHome({ DARKBLOOM_PROVIDER_HOME: '/x' }).config).toBe('/x/config.toml');
    expect(findHome({}).folder).toMatch(/\.darkbloom-provider$/u);
  });
});

describe('what is refused', () => {
  test.each([
    ['a key that is nearly right', '# mine\n[http]\n\nprot = 1\n', 'http.prot', 4, 'Did you mean http.port?'],
    ['a key far from any', '[http]\ncolour = 1\n', 'http.colour', 2, 'Known keys: http.host, '],
    ['a table that is nearly right', '\n[htp]\nport = 1\n', 'htp.port', 3, 'Did you mean http.port?'],
    ['a key outside any table', 'slots = 1\n', 'slots', 1, 'Known keys: '],
    ['a dotted key', 'log.level = "info"\nlog.levle = "info"\n', 'log.levle', 2, 'Did you mean log.level?'],
    ['a table in place of a value', '[log]\n[log.colour]\nx = 1\n', 'log.colour', 2, 'Known keys: '],
    ['an unknown table without keys', '[log]\n[colours]\n', 'colours', 2, 'Known keys: '],
  ])('%s: the error names it, its line and what may have been meant', (_, file, key, line, hint) => {
    const error = refusal({ file });
    expect(error.code).toBe('config_invalid');
    expect(error.message).toContain(`${home.config}, line ${line}: unknown key ${key}. ${hint}`);
    expect(error.param).toBe(key);
  });

  test.each([
    ['a number out of range', '[engine]\nslots = 3\n[http]\nport = 70000', 'http.port', 4],
    ['a word for a number', '[http]\nhost = "x"\nport = "many"', 'http.port', 3],
    ['a switch for a number', '[http]\nport = true', 'http.port', 2],
    ['a list for a number', '[http]\nport = [8000]', 'http.port', 2],
    ['a fraction', '[engine]\nslots = 1.5', 'engine.slots', 2],
    ['an unknown level', '[log]\nlevel = "loud"', 'log.level', 2],
    ['an address that is none', '[coordinator]\nurl = "ftp://x"', 'coordinator.url', 2],
    ['a number for a switch', '[provider]\nserve_others = 1', 'provider.serve_others', 2],
    ['a model name with a slash', '[models.files]\n"a/b" = "/x.gguf"', 'models.files', 2],
    ['no path for a model', '[models.files]\nmine = ""', 'models.files', 2],
  ])('%s: the error names the key and the line', (_, file, key, line) => {
    const error = refusal({ file });
    expect(error.code).toBe('config_invalid');
    expect(error.message.startsWith(`${home.config}, line ${line}: ${key}`)).toBe(true);
    expect(error.param).toBe(key);
  });

  test.each([
    ['memory_limit_gb = 0.1', 'must be a number of GB from 0.25 to 4096'],
    ['memory_limit_gb = "much"', 'must be a number of GB from 0.25 to 4096'],
    ['max_loaded_models = 0', 'must be a whole number from 1 to 64'],
    ['idle_unload_minutes = -1', 'must be a whole number from 0 to 10080'],
    ['gpu_layers = "all"', 'must be auto or a whole number from 0 to 1000'],
    ['gpu_layers = 1001', 'must be a whole number from 0 to 1000'],
    ['kv_type = "q2_k"', 'Invalid option: expected one of "f16"|"q8_0"|"q4_0"'],
    ['flash_attention = true', 'Invalid option: expected one of "auto"|"on"|"off"'],
    [
      'kv_type = "q8_0"\nflash_attention = "off"',
      'q8_0 and q4_0 need flash attention: set engine.flash_attention to auto or on',
    ],
  ])('[engine] %s: the error names the key and the limit', (line, reason) => {
    const key = `engine.${line.split(' ')[0]}`;
    expect(refusal({ file: `[engine]\n${line}\n` })).toMatchObject({
      code: 'config_invalid',
      param: key,
      message: `${home.config}, line 2: ${key}: ${reason}.`,
    });
  });

  test.each([
    ['audience = "app"', 'audience', 'needs identity.issuer beside it'],
    ['issuer = "privy.io"', 'issuer', 'needs identity.audience beside it'],
    [
      'issuer = "privy.io"\naudience = "app"',
      'issuer',
      'needs identity.jwks_url or identity.public_key_file beside it',
    ],
    [
      'jwks_url = "http://auth.example.com/keys"',
      'jwks_url',
      /^must be an address like .*; http only to this machine$/u,
    ],
    ['jwks_url = "keys"', 'jwks_url', /^must be an address like /u],
    ['issuer = ""', 'issuer', 'must not be empty'],
  ])('[identity] %s: the error names the key and what is missing', (lines, key, reason) => {
    const { code, param, message } = refusal({ file: `[identity]\n${lines}\n` });
    expect({ code, param }).toEqual({ code: 'config_invalid', param: `identity.${key}` });
    const said = message.replace(`${home.config}, line 2: identity.${key}: `, '').slice(0, -1);
    if (typeof reason === 'string') expect(said).toBe(reason);
    else expect(said).toMatch(reason);
  });

  test('[identity] takes its keys from one place', () => {
    const whole = '[identity]\nissuer = "privy.io"\naudience = "app"\njwks_url = "https://auth.example.com/keys"\n';
    expect(load({ file: whole }).identity).toEqual({
      issuer: 'privy.io',
      audience: 'app',
      jwks_url: 'https://auth.example.com/keys',
    });
    expect(refusal({ file: `${whole}public_key_file = "/key.pem"\n` }).message).toBe(
      `${home.config}, line 5: identity.public_key_file: set this or identity.jwks_url, not both.`,
    );
  });

  test.each(['7', '[1]'])('models.keep_loaded = %s', (value) => {
    expect(refusal({ file: `[models]\nkeep_loaded = ${value}\n` }).message).toBe(
      `${home.config}, line 2: models.keep_loaded: must be a list of names like ["one", "other"].`,
    );
  });

  test('an empty name in a list is told with its place', () => {
    expect(refusal({ file: '[models]\nkeep_loaded = ["a", ""]\n' }).message).toBe(
      `${home.config}, line 2: models.keep_loaded (1): must not be empty.`,
    );
  });

  test('the model that is wrong is named', () => {
    expect(refusal({ file: '[models.files]\ngood = "/x"\nmine = ""' }).message).toContain('models.files (mine)');
  });

  test('text that is not TOML: the error names line and column', () => {
    const error = refusal({ file: '[http]\nport = = 1\n' });
    expect(error.code).toBe('config_invalid');
    expect(error.message).toContain(`${home.config}, line 2, column `);
  });

  test('a file that cannot be read', () => {
    mkdirSync(home.config);
    expect(refusal({}).message).toContain(`${home.config} cannot be read`);
  });

  test('an unknown variable of ours, naming the nearest', () => {
    const error = refusal({ env: { DARKBLOOM_PROVIDER_HTTP_PROT: '1' } });
    expect(error.code).toBe('config_invalid');
    expect(error.message).toBe(
      'unknown environment variable DARKBLOOM_PROVIDER_HTTP_PROT. Did you mean DARKBLOOM_PROVIDER_HTTP_PORT?',
    );
  });

  test('a variable of others is no concern', () => {
    expect(load({ env: { DARKBLOOM_HTTP_PORT: '1', PATH: '/bin', DARKBLOOM_PROVIDER_HOME: '/x' } }).http.port).toBe(
      8000,
    );
  });

  test.each([
    ['a bad number', { DARKBLOOM_PROVIDER_HTTP_PORT: 'x' }],
    ['a variable that is set to nothing', { DARKBLOOM_PROVIDER_HTTP_PORT: '' }],
  ])('%s in the environment: the error names the variable', (_, env) => {
    expect(refusal({ env }).message).toContain('DARKBLOOM_PROVIDER_HTTP_PORT: http.port: ');
  });

  test('a model variable without a path', () => {
    expect(refusal({ env: { DARKBLOOM_PROVIDER_MODELS_FILES: '/just/a/path.gguf' } }).message).toContain(
      'DARKBLOOM_PROVIDER_MODELS_FILES: models.files',
    );
  });

  test('a bad flag: the error says that it came from the command line', () => {
    expect(refusal({ file: '[http]\nport = 1', flags: { 'http.port': 'x' } }).message).toContain(
      'command line: http.port: ',
    );
  });
});

test('every key is a table and a name', () => {
  expect(SETTING_KEYS).toContain('http.port');
  for (const key of SETTING_KEYS) expect(key).toMatch(/^[a-z]+\.[a-z_]+$/u);
});
