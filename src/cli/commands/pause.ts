import { Command } from 'commander';
import { environment, findHome } from '../../config.js';
import { askDaemon } from '../control-client.js';
import { printDone, runningRequests } from '../style.js';

export function pauseCommand(): Command {
  return new Command('pause')
    .description('refuse new requests, your own too, without losing the connection or the loaded models')
    .addHelpText(
      'after',
      `
What runs goes on. \`darkbloom-provider resume\` lets the machine serve again; so does a new start.

Examples:
  $ darkbloom-provider pause
  $ darkbloom-provider resume`,
    )
    .action(pause);
}

async function pause(): Promise<void> {
  const { requests } = await askDaemon(findHome(environment), '/pause');
  const goingOn = requests.running === 0 ? '' : ` What runs goes on: ${runningRequests(requests.running)}.`;
  printDone(`Paused.${goingOn} \`darkbloom-provider resume\` serves again.`);
}
