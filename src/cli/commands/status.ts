import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { environment, findHome, type Home } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import type { StatusOutput } from '../../service/status.js';
import { askStatus } from '../control-client.js';
import { printJson } from '../json-output.js';
import { statusLines } from '../status-view.js';
import { listenForStop } from '../stopping.js';
import { DEFAULT_WIDTH, screenWidth } from '../screen.js';
import { notRunning, serviceHere } from '../service-here.js';
import { harmless, print, style } from '../style.js';

const WATCH_PERIOD_MS = 1_000;

export function statusCommand(): Command {
  return new Command('status')
    .description('what the running daemon does at this moment')
    .option('--json', 'one JSON object')
    .option('--watch', 'full screen, every second, until Ctrl-C')
    .addHelpText(
      'after',
      `
Asked from the daemon itself over a local socket, never read from a file that may be old.
Exit code 75 when no daemon runs.

Examples:
  $ darkbloom-provider status
  $ darkbloom-provider status --watch
  $ darkbloom-provider status --json | jq .requests`,
    )
    .action(status);
}

async function status(flags: { json?: true; watch?: true }): Promise<void> {
  if (flags.watch === true && flags.json === true)
    throw new DarkbloomError('usage', 'Choose one of --json and --watch.');
  const home = findHome(environment);
  if (flags.watch === true) {
    await watch(home);
    return;
  }
  const now = await statusNow(home);
  if (flags.json === true) printJson<StatusOutput>(now);
  else for (const line of statusLines(now, screenWidth(DEFAULT_WIDTH), Date.now())) print(line);
}

/** @throws DarkbloomError `machine_offline` with what launchd says of the service. */
async function statusNow(home: Home): Promise<StatusOutput> {
  try {
    return await askStatus(home);
  } catch (error) {
    if (!(error instanceof DarkbloomError) || error.code !== 'machine_offline') throw error;
    const service = await serviceHere(home);
    if (service === undefined || service.state.name === 'not_installed') throw error;
    const { sentence, nextStep } = notRunning(service);
    throw new DarkbloomError('machine_offline', `${sentence} ${nextStep}`, { cause: error });
  }
}

const ENTER_SCREEN = '\x1b[?1049h\x1b[?25l';
const LEAVE_SCREEN = '\x1b[?1049l\x1b[?25h';
const HOME_AND_CLEAR = '\x1b[H\x1b[J';

/** A screen of its own, left as it was found. */
async function watch(home: Home): Promise<void> {
  if (!process.stdout.isTTY) throw new DarkbloomError('usage', '--watch needs a terminal. Use --json in scripts.');
  const stop = listenForStop();
  const stopped = new AbortController();
  void stop.asked.then(() => stopped.abort());
  process.stdout.write(ENTER_SCREEN);
  try {
    while (!stopped.signal.aborted) {
      process.stdout.write(HOME_AND_CLEAR + (await screen(home)));
      await sleep(WATCH_PERIOD_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  } finally {
    process.stdout.write(LEAVE_SCREEN);
  }
}

async function screen(home: Home): Promise<string> {
  const rows = (process.stdout.rows || 24) - 1;
  const title = style.bold('Darkbloom provider');
  const lines = [title, '', ...(await currentLines(home))];
  const room = Math.max(1, rows - 2);
  const hidden = lines.length > room ? lines.length - room : 0;
  const more = hidden === 0 ? '' : `; ${hidden} lines more in a taller window`;
  const shown = [...lines.slice(0, room), '', style.dim(`Ctrl-C leaves${more}`)];
  return shown.map((line) => harmless(line, style.isColorSupported)).join('\r\n');
}

/** A daemon that stops and comes back is waited for. */
async function currentLines(home: Home): Promise<string[]> {
  try {
    return statusLines(await statusNow(home), screenWidth(DEFAULT_WIDTH), Date.now());
  } catch (error) {
    if (error instanceof DarkbloomError) return [error.message];
    throw error;
  }
}
