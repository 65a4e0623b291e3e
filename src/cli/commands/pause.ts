import { Command } from 'commander';
import { environment, findHome } from '../../config.js';
import { askDaemon } from '../control-client.js';
import { printDone, runningRequests } from '../style.js';

export function pauseCommand(): Command {
  return new Command('pause')
    .description('refuse new requests, your own too, without losing the connection or the loaded models')
    .addHelpText('after', '\nWhat runs goes on. `darkbloom-provider resume` lets the machine serve again.')
    .action(async () => {
      const { requests } = await askDaemon(findHome(environment), '/pause');
      const goingOn = requests.running === 0 ? '' : ` What runs goes on: ${runningRequests(requests.running)}.`;
      printDone(`Paused.${goingOn} \`darkbloom-provider resume\` serves again.`);
    });
}

export function resumeCommand(): Command {
  return new Command('resume').description('serve again after pause').action(async () => {
    const { state } = await askDaemon(findHome(environment), '/resume');
    printDone(`The daemon is ${state}.`);
  });
}
