import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { VERSION } from '../util/version.js';
import { configCommand } from './commands/config.js';
import { coordinatorCommand } from './commands/coordinator.js';
import { demoCommand } from './commands/demo.js';
import { linkCommand } from './commands/link.js';
import { localCommand } from './commands/local.js';
import { logsCommand } from './commands/logs.js';
import { pauseCommand, resumeCommand } from './commands/pause.js';
import { startCommand } from './commands/start.js';
import { statusCommand } from './commands/status.js';
import { restartCommand, stopCommand } from './commands/stop.js';
import { reportFailure, USAGE_EXIT } from './failure.js';

const HELP = `
Examples:
  $ darkbloom-provider demo                 see one request go the whole way, then try it from your own program
  $ darkbloom-provider start                serve this machine's models until Ctrl-C
  $ darkbloom-provider status               what it does at this moment
  $ darkbloom-provider local                base URL and key for programs on this machine

Exit codes: 0 done, 64 the request was wrong, 65 settings or files are wrong, 70 a fault of ours,
75 try again later, 76 the other side failed, 130 interrupted.`;

const program = new Command('darkbloom-provider')
  .description('Serves GGUF models from this machine to its owner, and to a Darkbloom-compatible coordinator.')
  .version(VERSION, '-V, --version')
  .addHelpText('after', HELP)
  .showSuggestionAfterError()
  .exitOverride();

const COMMANDS = [
  startCommand(),
  stopCommand(),
  restartCommand(),
  statusCommand(),
  pauseCommand(),
  resumeCommand(),
  logsCommand(),
  localCommand(),
  linkCommand(),
  configCommand(),
  coordinatorCommand(),
  demoCommand(),
];
for (const command of COMMANDS) {
  program.addCommand(inheritExit(command));
}

/** Without this a subcommand would end the process by itself, with an exit code that is not ours. */
function inheritExit(command: Command): Command {
  command.exitOverride();
  command.showSuggestionAfterError();
  for (const inner of command.commands) inheritExit(inner);
  return command;
}

try {
  if (process.argv.length <= 2) program.outputHelp();
  else await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError && !(error instanceof InvalidArgumentError)) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE_EXIT; // commander has printed what was wrong
  } else {
    process.exitCode = reportFailure(error);
  }
}
