import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { environment, findHome, type Home } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { isAlive } from '../../util/processes.js';
import { agentHere, reportOutcome } from '../agent-here.js';
import { askStatus, askToStop } from '../control-client.js';
import { print, printDone, runningRequests } from '../style.js';

const LOOK_EVERY_MS = 200;
/** Longer than the daemon's own drain. */
const STOP_TIMEOUT_MS = 45_000;

export function stopCommand(): Command {
  return new Command('stop')
    .description('let the daemon finish its requests and stop; it stays off until `start`')
    .addHelpText(
      'after',
      `
Takes at most a minute. The background service stays off after a reboot, until \`start\`. Ctrl-C in the terminal of
\`start\` does the same; a second one does not wait.

Examples:
  $ darkbloom-provider stop`,
    )
    .action(stop);
}

async function stop(): Promise<void> {
  const home = findHome(environment);
  const agent = agentHere(home);
  const service = await agent?.state();
  if (agent !== undefined && service?.name !== 'not_installed') {
    reportOutcome(await agent.stop());
    if (!(await isAnswering(home))) return; // another one, in somebody's terminal, goes on
  }
  await stopInTerminal(home);
}

async function isAnswering(home: Home): Promise<boolean> {
  try {
    await askStatus(home);
    return true;
  } catch {
    return false;
  }
}

/** A daemon that runs in somebody's terminal. */
async function stopInTerminal(home: Home): Promise<void> {
  const status = await askToStop(home);
  const { pid } = status;
  const running = status.state === 'blocked' ? 0 : status.requests.running;
  if (running > 0) print(`Waiting for ${runningRequests(running)}.`);
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  while (isAlive(pid)) {
    if (Date.now() > deadline) {
      throw new DarkbloomError(
        'timeout',
        `The daemon (process ${pid}) did not stop in 45 s. \`kill -9 ${pid}\` ends it.`,
      );
    }
    await sleep(LOOK_EVERY_MS);
  }
  printDone('Stopped.');
}
