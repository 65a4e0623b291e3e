import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { environment, findHome } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { isAlive } from '../../util/processes.js';
import { askDaemon } from '../control-client.js';
import { print, printDone } from '../style.js';

const LOOK_EVERY_MS = 200;
/** Longer than the daemon's own drain. */
const STOP_TIMEOUT_MS = 45_000;

export function stopCommand(): Command {
  return new Command('stop')
    .description('let the running daemon finish its requests and stop')
    .addHelpText(
      'after',
      '\nTakes at most 45 s. Ctrl-C in the terminal of `start` does the same; a second one does not wait.',
    )
    .action(stop);
}

async function stop(): Promise<void> {
  const home = findHome(environment);
  const { requests, pid } = await askDaemon(home, 'POST', '/stop');
  if (requests.running > 0) print(`Waiting for ${requests.running} running requests.`);
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
