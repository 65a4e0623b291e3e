import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { z } from 'zod';
import { environment, findHome } from '../../config.js';
import { LOG_FILE, logFolderOf } from '../../log.js';
import { LogLine, logLines, type LogLevel } from '../../service/log-files.js';
import { systemClock } from '../../util/clock.js';
import { listenForStop } from '../stopping.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { print, style } from '../style.js';

const MS_OF: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Of each line. */
export const LogsOutput = LogLine.extend({ schema_version: SchemaVersion });
type LogsOutput = z.infer<typeof LogsOutput>;

interface LogFlags {
  follow?: true;
  since?: number;
  level?: LogLevel;
  json?: true;
}

export function logsCommand(): Command {
  return new Command('logs')
    .description('the log of the background service')
    .option('-f, --follow', 'go on with what comes, until Ctrl-C')
    .option('--since <age>', 'only the last 30m, 2h, 3d', age)
    .addOption(new Option('--level <level>', 'this level and above').choices(['debug', 'info', 'warn', 'error']))
    .option('--json', 'a JSON object for each line')
    .addHelpText(
      'after',
      `
A daemon in a terminal writes its log there. Prompts, answers and keys are in no log.

Examples:
  $ darkbloom-provider logs --follow
  $ darkbloom-provider logs --since 2h --level warn`,
    )
    .action(logs);
}

/** An age as a time, ms since the epoch. */
function age(text: string): number {
  const found = /^(\d+)([smhd])$/u.exec(text);
  const unit = MS_OF[found?.[2] ?? ''];
  if (found === null || unit === undefined) throw new InvalidArgumentError('an age is a number and s, m, h or d.');
  return Date.now() - Number(found[1]) * unit;
}

async function logs({ follow, since, level, json }: LogFlags): Promise<void> {
  const home = findHome(environment);
  const folder = logFolderOf(process.platform, homedir(), home.folder);
  const filter = {
    ...(since === undefined ? {} : { since }),
    ...(level === undefined ? {} : { minimumLevel: level }),
  };
  const stopped = new AbortController();
  if (follow === true) void listenForStop().asked.then(() => stopped.abort());
  process.stdout.once('error', () => stopped.abort()); // a reader such as `head` has seen enough
  const following = follow === true ? { clock: systemClock, signal: stopped.signal } : undefined;
  if (json !== true && !existsSync(join(folder, LOG_FILE))) {
    const more = process.platform === 'darwin' ? '' : "; it is macOS's, and a daemon in a terminal writes there";
    process.stderr.write(`There is no log in ${folder} yet: the background service writes it${more}.\n`);
  }
  for await (const line of logLines(folder, filter, following)) {
    if (json === true) printJson<LogsOutput>({ schema_version: 1, ...line });
    else print(text(line));
    if (stopped.signal.aborted) return;
  }
}

const WORDS: Readonly<Record<number, string>> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' };

function text({ time, level, msg, ...facts }: LogLine): string {
  const rest = Object.entries(facts).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${style.dim(time)} ${(WORDS[level] ?? String(level)).padEnd(5)} ${msg ?? ''} ${style.dim(rest.join(' '))}`.trimEnd();
}
