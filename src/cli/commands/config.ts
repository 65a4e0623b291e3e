import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import {
  environment,
  ExplainedSetting,
  explainSettings,
  findHome,
  SETTING_KEYS,
  settingsSchema,
  variableName,
} from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { nearest } from '../../util/nearest.js';
import { tomlLiteral, tomlString } from '../../util/toml-edit.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { screenWidth, wrapped } from '../screen.js';
import { changeSetting, type SettingPlace } from '../settings-file.js';
import { print, printDone, style } from '../style.js';

const FILES_KEY = 'models.files';

export const ConfigShowOutput = z.strictObject({
  schema_version: SchemaVersion,
  settings: z.array(ExplainedSetting).describe('Every setting'),
});
type ConfigShowOutput = z.infer<typeof ConfigShowOutput>;

export const ConfigGetOutput = ExplainedSetting.extend({ schema_version: SchemaVersion });
type ConfigGetOutput = z.infer<typeof ConfigGetOutput>;

export function configCommand(): Command {
  const command = new Command('config').description('show and change the settings').addHelpText(
    'after',
    `
Settings lie in one TOML file; environment variables (DARKBLOOM_PROVIDER_HTTP_PORT for http.port) win over it, flags
over both. A running daemon reads them at its next start.

Examples:
  $ darkbloom-provider config show --origin
  $ darkbloom-provider config set http.port 9000
  $ darkbloom-provider config set models.files.qwen /Users/me/models/qwen.gguf
  $ darkbloom-provider config unset http.port`,
  );
  command
    .command('show', { isDefault: true })
    .description('every setting')
    .option('--origin', 'also who set it')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider config show
  $ darkbloom-provider config show --origin
  $ darkbloom-provider config show --json | jq '.settings[] | select(.origin != "default")'`,
    )
    .action(show);
  command
    .command('get')
    .description('one value')
    .argument('<key>', 'as `config show` lists it, for example http.port')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider config get http.port
  $ darkbloom-provider config get models.files.mine
  $ darkbloom-provider config get http.port --json | jq .value`,
    )
    .action(get);
  command
    .command('set')
    .description('write one value; comments in the file stay')
    .argument('<key>', 'as `config show` lists it, for example http.port')
    .argument('<value>', 'a list is parted by commas')
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider config set http.port 9000
  $ darkbloom-provider config set models.keep_loaded qwen3.5-4b,gemma-4-e2b
  $ darkbloom-provider config set models.files.mine ~/models/mine.gguf`,
    )
    .action(set);
  command
    .command('unset')
    .description('go back to the default')
    .argument('<key>', 'as `config show` lists it, for example http.port')
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider config unset http.port
  $ darkbloom-provider config unset models.files.mine`,
    )
    .action(unset);
  command
    .command('schema')
    .description('JSON Schema of the settings file, for editors')
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider config schema > darkbloom-provider.schema.json`,
    )
    .action(() => print(JSON.stringify(settingsSchema(), null, 2)));
  return command;
}

function show({ origin, json }: { origin?: true; json?: true }): void {
  const settings = explainSettings(findHome(environment), environment);
  if (json === true) {
    printJson<ConfigShowOutput>({ schema_version: 1, settings });
    return;
  }
  const width = Math.max(...settings.map(({ key }) => key.length));
  const textWidth = screenWidth(Infinity) - width - 2;
  for (const setting of settings) {
    const value = valueText(setting);
    const from = origin === true ? `  ${style.dim(setting.origin)}` : '';
    print(`${setting.key.padEnd(width)}  ${value}${from}`);
    for (const line of wrapped(setting.meaning, textWidth)) print(`${' '.repeat(width)}  ${style.dim(line)}`);
  }
}

function valueText({ value }: ExplainedSetting): string {
  return value === undefined ? 'not set' : typeof value === 'string' ? value : JSON.stringify(value);
}

function get(key: string, { json }: { json?: true }): void {
  const setting = explained(key);
  if (json === true) printJson<ConfigGetOutput>({ schema_version: 1, ...setting });
  else print(valueText(setting));
}

/** One setting, or the path of one model of the owner. */
function explained(key: string): ExplainedSetting {
  const settings = explainSettings(findHome(environment), environment);
  const setting = settings.find((known) => known.key === key);
  if (setting !== undefined) return setting;
  const files = settings.find((known) => known.key === FILES_KEY);
  const { table, name } = place(key);
  const path = new Map<string, unknown>(Object.entries(files?.value ?? {})).get(name);
  if (files === undefined || table !== FILES_KEY || path === undefined) {
    throw new DarkbloomError(
      'usage',
      `There is no ${key}. \`darkbloom-provider config get ${FILES_KEY}\` shows what is.`,
    );
  }
  return { ...files, key, value: path };
}

function set(key: string, value: string): void {
  const at = place(key);
  const isPath = at.table === FILES_KEY && value !== '';
  const text = isPath ? tomlString(resolve(value)) : tomlLiteral(value);
  changeSetting(findHome(environment), at, text);
  printDone(`${key} = ${value}. A running daemon uses it after a restart.`);
  if (isPath && !existsSync(value)) {
    print(`${style.yellow('note')} There is no ${resolve(value)} now: a start without it is refused.`);
  }
  warnOfVariable(key);
}

function unset(key: string): void {
  changeSetting(findHome(environment), place(key), undefined);
  printDone(`${key} is back to its default. A running daemon uses it after a restart.`);
  warnOfVariable(key);
}

/** It wins over the file. */
function warnOfVariable(key: string): void {
  const name = variableName(key.startsWith(`${FILES_KEY}.`) ? FILES_KEY : key);
  if (environment[name] === undefined) return;
  print(`${style.yellow('note')} ${name} is set in this terminal: what is started here takes that value instead.`);
}

/** Table and key in the file. The models of the owner are a table of their own. */
function place(key: string): SettingPlace {
  if (key.startsWith(`${FILES_KEY}.`)) return { table: FILES_KEY, name: key.slice(FILES_KEY.length + 1) };
  if (key === FILES_KEY) throw new DarkbloomError('usage', `Name one model: ${FILES_KEY}.NAME, one at a time.`);
  if (!SETTING_KEYS.includes(key)) throw unknown(key);
  const [table = '', name = ''] = key.split('.');
  return { table, name };
}

function unknown(key: string): DarkbloomError {
  const meant = nearest(key, SETTING_KEYS);
  const hint = meant === undefined ? `Known keys: ${SETTING_KEYS.join(', ')}.` : `Did you mean ${meant}?`;
  return new DarkbloomError('usage', `There is no setting ${key}. ${hint}`);
}
