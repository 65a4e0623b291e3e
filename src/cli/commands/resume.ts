import { Command } from 'commander';
import { environment, findHome } from '../../config.js';
import { askDaemon } from '../control-client.js';
import { printDone } from '../style.js';

export function resumeCommand(): Command {
  return new Command('resume')
    .description('serve again after pause')
    .addHelpText('after', '\nExamples:\n  $ darkbloom-provider resume')
    .action(async () => {
      const { state } = await askDaemon(findHome(environment), '/resume');
      printDone(`The daemon is ${state}.`);
    });
}
