import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { SETTING_KEYS } from '../../src/config.js';
import { runCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

const FILE = `# mine
[http]
port = 9000 # 8000 is taken

[models.files]
qwen = "/models/qwen.gguf"
`;

let home: TemporaryHome;
let file: string;
beforeEach(() => {
  home = new TemporaryHome();
  file = home.home.config;
});
afterEach(() => home[Symbol.dispose]());

const config = (args: readonly string[], env: Record<string, string> = {}) =>
  runCommand(['config', ...args], home.home.folder, env);
const fileNow = () => readFileSync(file, 'utf8');

/** What the command printed. */
async function printed(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const ended = await config(args, env);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  return ended.stdout;
}

/** The one sentence it refused with; nothing was changed. */
async function refusal(args: readonly string[], code: number): Promise<string> {
  const before = existsSync(file) ? fileNow() : undefined;
  const ended = await config(args);
  expect(ended).toMatchObject({ code, stdout: '' });
  expect(ended.stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(existsSync(file) ? fileNow() : undefined).toBe(before);
  return ended.stderr;
}

const Setting = z.strictObject({
  key: z.string(),
  value: z.unknown().optional(),
  origin: z.string(),
  meaning: z.string().min(1),
});
const Shown = z.strictObject({ schema_version: z.literal(1), settings: z.array(Setting) });

describe('config show', () => {
  costly('without a file names every setting with its value and its meaning', async () => {
    const text = await printed(['show']);
    for (const key of SETTING_KEYS) expect(text).toMatch(new RegExp(`^${key} `, 'mu'));
    expect(text).toMatch(/^http\.port +8000$/mu);
    expect(text).toMatch(/^coordinator\.url +not set$/mu);
    expect(text).toContain('HTTP port; 0 takes a free one');
    expect(await printed([])).toBe(text);
    expect(existsSync(file)).toBe(false); // who only looks leaves nothing behind
  });

  costly('--origin says who set it: the default, a line of the file, or a variable', async () => {
    writeFileSync(file, FILE);
    const text = await printed(['show', '--origin'], { DARKBLOOM_PROVIDER_LOG_LEVEL: 'debug' });
    expect(text).toMatch(/^http\.host +127\.0\.0\.1 +default$/mu);
    expect(text).toContain(`9000  ${file}, line 3\n`);
    expect(text).toContain(`{"qwen":"/models/qwen.gguf"}  ${file}, line 5\n`);
    expect(text).toMatch(/^log\.level +debug +DARKBLOOM_PROVIDER_LOG_LEVEL$/mu);
  });

  costly('--json gives the same as one object; the environment wins over the file', async () => {
    writeFileSync(file, FILE);
    const { settings } = Shown.parse(
      JSON.parse(await printed(['show', '--json'], { DARKBLOOM_PROVIDER_HTTP_PORT: '9001' })),
    );
    expect(settings.map(({ key }) => key)).toEqual(SETTING_KEYS);
    const of = (key: string) => settings.find((setting) => setting.key === key);
    expect(of('http.port')).toMatchObject({ value: 9001, origin: 'DARKBLOOM_PROVIDER_HTTP_PORT' });
    expect(of('provider.serve_others')).toMatchObject({ value: false, origin: 'default' });
    expect(of('coordinator.url')).not.toHaveProperty('value');
    expect(of('models.files')?.value).toEqual({ qwen: '/models/qwen.gguf' });
  });

  costly('of a file with a mistake says which line', async () => {
    writeFileSync(file, '[http]\nprot = 1\n');
    expect(await refusal(['show'], 65)).toContain(`${file}, line 2: unknown key http.prot. Did you mean http.port?`);
  });
});

costly('config get prints one value, of one model too', async () => {
  writeFileSync(file, FILE);
  expect(await printed(['get', 'http.port'])).toBe('9000\n');
  expect(await printed(['get', 'coordinator.url'])).toBe('not set\n');
  expect(await printed(['get', 'models.files.qwen'])).toBe('/models/qwen.gguf\n');
  expect(JSON.parse(await printed(['get', 'http.port', '--json']))).toMatchObject({
    schema_version: 1,
    key: 'http.port',
    value: 9000,
    origin: `${file}, line 3`,
  });
  expect(await refusal(['get', 'http.prot'], 64)).toContain('There is no setting http.prot. Did you mean http.port?');
  expect(await refusal(['get', 'models.files.other'], 64)).toContain('There is no models.files.other.');
});

describe('config set', () => {
  costly('makes a private file when there is none', async () => {
    expect(await printed(['set', 'log.level', 'warn'])).toContain('log.level = warn');
    expect(fileNow()).toBe('[log]\nlevel = "warn"\n');
    expect((statSync(file).mode & 0o777).toString(8)).toBe('600');
  });

  costly('changes one line, and keeps every comment', async () => {
    writeFileSync(file, FILE);
    await printed(['set', 'http.port', '9002']);
    expect(fileNow()).toBe(FILE.replace('9000', '9002'));
    expect(await printed(['get', 'http.port'])).toBe('9002\n');
  });

  costly('names a model of the owner, also one with a dot in its name', async () => {
    writeFileSync(file, FILE);
    await printed(['set', 'models.files.qwen2.5-7b', '/models/with "quotes" # and more.gguf']);
    await printed(['set', 'models.files.4', '/5']);
    const shown = JSON.parse(await printed(['get', 'models.files', '--json'])) as { value: unknown };
    expect(shown.value).toEqual({
      qwen: '/models/qwen.gguf',
      'qwen2.5-7b': '/models/with "quotes" # and more.gguf',
      4: '/5',
    });
    await printed(['unset', 'models.files.qwen2.5-7b']);
    await printed(['unset', 'models.files.4']);
    expect(fileNow()).toBe(FILE);
  });

  test.each([
    ['http.port', '70000', 'http.port: must be a whole number from 0 to 65535'],
    ['http.port', '00x', 'http.port: must be a whole number from 0 to 65535'],
    ['provider.serve_others', 'perhaps', 'provider.serve_others: must be true or false'],
    ['coordinator.url', 'ftp://studio.local', 'coordinator.url: must be an address like http://'],
    ['models.files.a/b', '/x.gguf', 'a model name is letters, digits, dot, dash and underscore'],
    ['models.files.empty', '', 'must be the path of a GGUF file'],
  ])('refuses a bad value and leaves the file as it is: %s %j', async (key, value, sentence) => {
    writeFileSync(file, FILE);
    expect(await refusal(['set', key, value], 65)).toContain(sentence);
  });

  costly('in a file that has a mistake elsewhere says where that is', async () => {
    writeFileSync(file, '[http]\nport = "none"\n');
    expect(await refusal(['set', 'engine.slots', '2'], 65)).toContain(`${file}, line 2: http.port: must be`);
  });

  test.each([
    ['set', 'http.prot', 'There is no setting http.prot. Did you mean http.port?'],
    ['set', 'nonsense', 'There is no setting nonsense. Known keys: http.host, '],
    ['set', 'models.files', 'Name one model: models.files.NAME'],
    ['unset', 'engine.slot', 'There is no setting engine.slot. Did you mean engine.slots?'],
    ['unset', 'models.files', 'Name one model: models.files.NAME'],
  ])('%s %s is refused, with what may have been meant', async (verb, key, sentence) => {
    writeFileSync(file, FILE);
    expect(await refusal(verb === 'set' ? [verb, key, '1'] : [verb, key], 64)).toContain(sentence);
  });
});

costly('config unset goes back to the default, and makes no file where none was', async () => {
  await printed(['unset', 'http.port']);
  expect(existsSync(file)).toBe(false);
  writeFileSync(file, FILE);
  expect(await printed(['unset', 'http.port'])).toContain('http.port is back to its default');
  expect(fileNow()).toBe(FILE.replace('port = 9000 # 8000 is taken\n', ''));
  expect(await printed(['get', 'http.port'])).toBe('8000\n');
});

costly('config unset mends a file that holds a value that is refused', async () => {
  writeFileSync(file, '[http]\nport = "none" # oh\n');
  await printed(['unset', 'http.port']);
  expect(fileNow()).toBe('[http]\n');
});

costly('config changes keys that are dotted at the root', async () => {
  writeFileSync(file, 'http.port = 1 # mine\nlog.level = "warn"\n');
  await printed(['set', 'http.port', '2']);
  await printed(['set', 'http.host', '0.0.0.0']);
  expect(fileNow()).toBe('http.port = 2 # mine\nhttp.host = "0.0.0.0"\nlog.level = "warn"\n');
  await printed(['unset', 'http.port']);
  expect(fileNow()).toBe('http.host = "0.0.0.0"\nlog.level = "warn"\n');
  expect(await printed(['get', 'http.port'])).toBe('8000\n');
});

test.each([
  ['an inline table', 'http = { port = 1 }\n', 1],
  ['an inline table in a table', '[log]\nlevel = "warn"\n[models]\nfiles = { qwen = "/a" }\n', 4],
  ['a text over several lines', '[models.files]\nqwen = """\n/a"""\n', 2],
])('config refuses to change %s, says where it is, and leaves the file as it was', async (_, text, line) => {
  writeFileSync(file, text);
  const key = line === 1 ? 'http.port' : 'models.files.qwen';
  for (const args of [
    ['set', key, '2'],
    ['unset', key],
  ]) {
    expect(await refusal(args, 65)).toContain(`${file}, line ${line}: ${key} cannot be changed by a command`);
  }
});

costly('config schema accepts a good file and refuses a bad one', async () => {
  const schema = z.fromJSONSchema(JSON.parse(await printed(['schema'])) as z.core.JSONSchema.JSONSchema);
  const accepts = (value: unknown) => schema.safeParse(value).success;
  expect(accepts({})).toBe(true);
  expect(
    accepts({
      http: { host: '0.0.0.0', port: 9000 },
      coordinator: { url: 'http://studio.local:8787' },
      provider: { serve_others: true },
      engine: { slots: 2 },
      models: { files: { qwen: '/models/qwen.gguf' } },
      log: { level: 'debug' },
    }),
  ).toBe(true);
  for (const bad of [
    { http: { prot: 1 } },
    { htp: {} },
    { http: { port: [] } },
    { log: { level: 'loud' } },
    { models: { files: { qwen: 5 } } },
  ]) {
    expect(accepts(bad), JSON.stringify(bad)).toBe(false);
  }
});

test.each<Record<string, string>>([{}, { NO_COLOR: '1' }, { CI: 'true' }, { FORCE_COLOR: '1' }])(
  'in a pipe nothing is coloured: %j',
  async (env) => {
    const outputs = await Promise.all([
      config(['show', '--origin'], env),
      config(['set', 'log.level', 'warn'], env),
      config(['get', 'http.prot'], env),
    ]);

    for (const { stdout, stderr } of outputs) expect(stdout + stderr).not.toMatch(/\x1b/u);
  },
);
