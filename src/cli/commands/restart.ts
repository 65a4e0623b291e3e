import { Command } from 'commander';
import { environment, findHome } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { agentHere, reportOutcome } from '../agent-here.js';

export function restartCommand(): Command {
  return new Command('restart')
    .description('stop the background service after its requests and start it again')
    .addHelpText(
      'after',
      `
It reads the settings anew, and takes a new version of this program. Takes at most a minute for running requests.

Examples:
  $ darkbloom-provider config set engine.slots 2
  $ darkbloom-provider restart`,
    )
    .action(restart);
}

async function restart(): Promise<void> {
  const agent = agentHere(findHome(environment));
  if (agent === undefined) {
    const message = "The background service is macOS's. Stop `start` with Ctrl-C and run it again.";
    throw new DarkbloomError('not_supported', message);
  }
  reportOutcome(await agent.restart());
}
