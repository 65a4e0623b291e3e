import { Command, InvalidArgumentError } from 'commander';
import { environment, findHome, loadSettings, type Home, type Values } from '../../config.js';
import { startedByLaunchd } from '../../service/agent-plist.js';
import type { Agent } from '../../service/agent.js';
import { agentHere, reportOutcome } from '../agent-here.js';
import { warnBeforeInstall } from '../install-warnings.js';
import { runAsService, runInTerminal } from '../run-daemon.js';
import { print } from '../style.js';

interface StartFlags {
  foreground?: true;
  port?: number;
  serveOthers?: true;
}

export function startCommand(): Command {
  return new Command('start')
    .description('serve the models of this machine: on a Mac in the background, from login to login')
    .option('--foreground', 'stay in this terminal, until Ctrl-C')
    .option('--port <number>', 'HTTP port for programs on this machine; 0 takes a free one', portNumber)
    .option('--serve-others', 'also serve other accounts of the coordinator')
    .addHelpText(
      'after',
      `
Without coordinator.url in the settings this machine is its own coordinator: everything runs here, no account is
needed, and your own requests are free. \`darkbloom-provider link URL\` serves a coordinator elsewhere instead.

The background service is macOS's: elsewhere \`start\` stays in this terminal. Flags count for this terminal alone;
\`darkbloom-provider config set\` is for good.

Examples:
  $ darkbloom-provider start
  $ darkbloom-provider start --foreground --port 9000`,
    )
    .action(start);
}

export function portNumber(text: string): number {
  const port = Number(text);
  if (/^\d+$/u.test(text) && port <= 65_535) return port;
  throw new InvalidArgumentError('a port is a number from 0 to 65535.');
}

const NO_SERVICE = "The background service is macOS's: staying in this terminal.";

async function start(flags: StartFlags): Promise<void> {
  const home = findHome(environment);
  const values = flagValues(flags);
  if (startedByLaunchd(environment)) {
    await runAsService(home, values);
    return;
  }
  const agent = agentHere(home);
  if (agent !== undefined && flags.foreground !== true && Object.keys(values).length === 0) {
    await startInBackground(agent, home);
    return;
  }
  const hint = agent === undefined && flags.foreground !== true ? NO_SERVICE : undefined;
  await runInTerminal(home, values, hint);
}

async function startInBackground(agent: Agent, home: Home): Promise<void> {
  loadSettings(home, environment, {}); // what is wrong in them is told here rather than in the log of a service
  warnBeforeInstall(home, environment);
  print('Starting the background service …');
  reportOutcome(await agent.start());
  print('`darkbloom-provider status` shows what it does, `darkbloom-provider local` prints base URL and key.');
}

function flagValues({ port, serveOthers }: StartFlags): Values {
  return {
    ...(port === undefined ? {} : { 'http.port': port }),
    ...(serveOthers === undefined ? {} : { 'provider.serve_others': true }),
  };
}
