import { join } from 'node:path';
import { PACKAGE_ROOT } from '../util/version.js';
import { placeFile } from './place-file.js';

const EXECUTABLE = 0o755;

/** What the launcher exits with when it finds no Node.js or no package. The service itself never does under launchd. */
export const NOTHING_TO_RUN_EXIT = 65;

/** They keep each version in a folder of its own; links to it are made for shells, not for launchd. */
const VERSION_MANAGERS = /\/(?:\.nvm|\.?fnm|\.asdf|\.volta|\.?mise|\.?rtx|\.nodenv|\.nodebrew)\//u;

/**
 * The path of Node.js that a service should keep: a link that stays when Node is upgraded, as far as one leads to the
 * same program, else the program itself.
 * @param node the program that runs now, links resolved
 * @param major its major version, as in `node@22`
 * @param resolve the program behind a path, `undefined` where there is none
 */
export function stableNodePath(node: string, major: number, resolve: (path: string) => string | undefined): string {
  if (VERSION_MANAGERS.test(node)) return node;
  const links = [
    '/opt/homebrew/opt/node/bin/node',
    `/opt/homebrew/opt/node@${major}/bin/node`,
    '/usr/local/opt/node/bin/node',
    `/usr/local/opt/node@${major}/bin/node`,
    '/usr/local/bin/node',
  ];
  return links.find((link) => resolve(link) === node) ?? node;
}

/** Where else Node.js may be, as words of the shell, once the kept path leads nowhere. The newest managed versions come
 *  last in a pattern, but any that is new enough will do. */
const NODE_PLACES: readonly string[] = [
  '/opt/homebrew/opt/node/bin/node',
  '/opt/homebrew/opt/node@*/bin/node',
  '/opt/homebrew/bin/node',
  '/usr/local/bin/node',
  '/usr/local/opt/node@*/bin/node',
  '/opt/local/bin/node',
  '"$HOME"/.nvm/versions/node/*/bin/node',
  '"$HOME"/.volta/tools/image/node/*/bin/node',
  '"$HOME"/.asdf/installs/nodejs/*/bin/node',
  '"$HOME"/.local/share/mise/installs/node/*/bin/node',
  '"$HOME"/.local/share/fnm/node-versions/*/installation/bin/node',
  '"$HOME/Library/Application Support/fnm/node-versions"/*/installation/bin/node',
  '"$(command -v node)"',
];

interface LauncherFacts {
  /** The path of Node.js that is tried first. */
  node: string;
  /** The home this launcher belongs to. */
  homeFolder: string;
  /** Words of the shell. */
  otherPlaces: readonly string[];
  /** The folder of the package. */
  packageRoot: string;
}

/** The program that launchd starts, under the name that the owner sees in System Settings. */
export function launcherScript({ node, homeFolder, otherPlaces, packageRoot }: LauncherFacts): string {
  const main = join(packageRoot, 'dist/cli/main.js');
  return `#!/bin/sh
# Starts darkbloom-provider in the background. Written by \`darkbloom-provider start\`, which also writes it anew.
# No core dumps (prompts live in memory), and none of the variables that make a loader bring foreign code or an
# allocator keep old contents.
ulimit -c 0 2>/dev/null
unset NODE_OPTIONS NODE_V8_COVERAGE LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT NSZombieEnabled OBJC_DEBUG_POOL_ALLOCATION \\
  CFNETWORK_DIAGNOSTICS
unsafe='s/^\\(DYLD_[A-Za-z0-9_]*\\)=.*/\\1/p; s/^\\(Malloc[A-Za-z0-9_]*\\)=.*/\\1/p'
for name in $(/usr/bin/env | /usr/bin/sed -n "$unsafe"); do
  unset "$name"
done
export DARKBLOOM_PROVIDER_HOME=${quoted(homeFolder)}

main=${quoted(main)}
if [ ! -f "$main" ]; then
  echo "darkbloom-provider: $main is gone. Install the package again, then run: darkbloom-provider start" >&2
  exit ${NOTHING_TO_RUN_EXIT}
fi

# The first place is the one that Node.js was found at; the others are for the day it was moved or upgraded away.
for node in ${[quoted(node), ...otherPlaces].join(' \\\n  ')}
do
  [ -x "$node" ] || continue
  "$node" -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' \\
    >/dev/null 2>&1 || continue
  exec "$node" "$main" "$@"
done
echo "darkbloom-provider: no Node.js 20.19 or later at "${quoted(node)}" or elsewhere. Install it from nodejs.org." >&2
exit ${NOTHING_TO_RUN_EXIT}
`;
}

/** One word of the shell, whatever is in it. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

export function launcherPath(homeFolder: string): string {
  return join(homeFolder, 'bin/darkbloom-provider');
}

/** Writes the launcher of a home, for the package that runs now.
 *  @param node the path of Node.js to keep, see `stableNodePath` */
export function writeLauncher(homeFolder: string, node: string): void {
  const facts = { node, homeFolder, otherPlaces: NODE_PLACES, packageRoot: PACKAGE_ROOT };
  placeFile(launcherPath(homeFolder), launcherScript(facts), EXECUTABLE);
}
