import { tmpdir } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { explainSettings, variableName, type Environment, type Home } from '../config.js';
import { PACKAGE_ROOT } from '../util/version.js';
import { errorStyle, printError } from './style.js';

/** What a person should know before `start` installs the background service, on stderr.
 *  @throws DarkbloomError `config_invalid`. */
export function warnBeforeInstall(home: Home, env: Environment): void {
  for (const warning of [...lostVariables(home, env), ...vanishingPlace(PACKAGE_ROOT, tmpdir())]) {
    printError(`${errorStyle.yellow('warning')} ${warning}`);
  }
}

/** Settings of this shell that the service will not have: launchd starts it with variables of its own.
 *  @throws DarkbloomError `config_invalid`. */
export function lostVariables(home: Home, env: Environment): string[] {
  const alone = new Map(explainSettings(home, {}).map(({ key, value }) => [key, value]));
  return explainSettings(home, env)
    .filter(({ key, value }) => variableName(key) in env && !isDeepStrictEqual(value, alone.get(key)))
    .map(
      ({ key, value }) =>
        `${variableName(key)} is set in this shell alone and does not reach the background service. ` +
        `To make it lasting: ${lastingCommands(key, value).join(' and ')}`,
    );
}

/** A table is set line by line. */
function lastingCommands(key: string, value: unknown): string[] {
  if (typeof value !== 'object' || value === null)
    return [`darkbloom-provider config set ${key} ${word(String(value))}`];
  return Object.entries(value).map(
    ([name, each]) => `darkbloom-provider config set ${key}.${name} ${word(String(each))}`,
  );
}

/** One word of the shell. */
function word(text: string): string {
  return /^[\w./:@%+=-]+$/u.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Says when the program runs from a place that may be emptied or gone at the next login: the service would not start. */
export function vanishingPlace(root: string, temporaryFolder: string): string[] {
  const [what] = PLACES.flatMap(([pattern, name]) => (pattern.test(root) ? [name] : []));
  const where = what ?? (root.startsWith(`${temporaryFolder}/`) ? TEMPORARY : undefined);
  if (where === undefined) return [];
  return [
    `this program runs from ${where} (${root}). When that is gone, the background service cannot start any more. ` +
      'Install it to stay (npm install --global), and run `darkbloom-provider start` from there.',
  ];
}

const TEMPORARY = 'a temporary folder, which the system empties';
const PLACES: readonly (readonly [RegExp, string])[] = [
  [/\/_npx\//u, 'the cache of npx, which npm may empty'],
  [/\/(?:\.cache|Caches)\//u, 'a cache, which may be emptied'],
  [/\/\.Trash\//u, 'the trash'],
  [/^\/Volumes\//u, 'another disk, which may not be there after a login'],
  [/^(?:\/private)?\/(?:tmp|var\/folders|var\/tmp)\//u, TEMPORARY],
];
