import { Command, InvalidArgumentError, Option } from 'commander';
import { environment, findHome, loadSettings, type Home, type Values } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { startedByLaunchd } from '../../service/agent-plist.js';
import type { Agent } from '../../service/agent.js';
import { agentHere, reportOutcome } from '../agent-here.js';
import { warnBeforeInstall } from '../install-warnings.js';
import { runAsService, runInTerminal } from '../run-daemon.js';
import { sendFirstRequest, untilServing } from '../setup/first-request.js';
import { isFirstRun, setUp, type Answers } from '../setup/first-run.js';
import { print } from '../style.js';

interface StartFlags {
  foreground?: true;
  service?: true;
  port?: number;
  serveOthers?: true;
  model?: string | false;
  keepLoaded?: boolean;
  yes?: true;
}

export function startCommand(): Command {
  return new Command('start')
    .description('serve the models of this machine: on a Mac in the background, from login to login')
    .option('--foreground', 'stay in this terminal, until Ctrl-C')
    .addOption(new Option('--service', 'install the background service (macOS)').conflicts(['foreground', 'port']))
    .option('--model <name>', 'fetch this model first, of the catalogue or of another application')
    .option('--no-model', 'no model but the demo model for now')
    .option('--keep-loaded', 'keep that model in memory all the time')
    .option('--no-keep-loaded', 'load it for requests, unload it when it is idle')
    .option('--yes', 'first run: take the proposed answer of every question')
    .option('--port <number>', 'HTTP port for programs on this machine; 0 takes a free one', portNumber)
    .option('--serve-others', 'also serve other accounts of the coordinator')
    .addHelpText(
      'after',
      `
The first start on a machine checks it, proposes models that fit, and asks; the flags answer in advance. Without a
terminal nothing is asked, the defaults are printed, and nothing is downloaded unless --model or --yes says so.

Without coordinator.url in the settings this machine is its own coordinator: everything runs here, no account is
needed, and your own requests are free. \`darkbloom-provider link URL\` serves a coordinator elsewhere instead.

The background service is macOS's: elsewhere \`start\` stays in this terminal. --port and --serve-others count for this
terminal alone; \`darkbloom-provider config set\` is for good.

Examples:
  $ darkbloom-provider start
  $ darkbloom-provider start --model qwen3.5-4b --keep-loaded
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
  if (agent === undefined && flags.service === true) throw new DarkbloomError('not_supported', NO_SERVICE);
  const canServe = agent !== undefined && Object.keys(values).length === 0;
  const answers = answersOf(flags);
  const wanted = isFirstRun(home) || answers.model !== undefined || answers.keepLoaded !== undefined;
  const setUpNow = wanted ? await setUp(home, values, answers, canServe) : undefined;
  if (agent !== undefined && canServe && (setUpNow?.inBackground ?? flags.foreground !== true)) {
    await startInBackground(agent, home, setUpNow?.model);
    return;
  }
  const hint = agent === undefined && flags.foreground !== true ? NO_SERVICE : undefined;
  await runInTerminal(home, values, { hint, firstModel: setUpNow?.model });
}

async function startInBackground(agent: Agent, home: Home, firstModel: string | undefined): Promise<void> {
  loadSettings(home, environment, {}); // what is wrong in them is told here rather than in the log of a service
  warnBeforeInstall(home, environment);
  print('Starting the background service …');
  // a service that runs already takes what was set up only as a new process
  reportOutcome(await (firstModel === undefined ? agent.start() : agent.restart()));
  if (firstModel !== undefined) await sendFirstRequest(await untilServing(home), firstModel);
  print('`darkbloom-provider status` shows what it does, `darkbloom-provider local` prints base URL and key.');
}

function answersOf({ model, keepLoaded, yes, foreground, service }: StartFlags): Answers {
  return {
    ...(model === undefined ? {} : { model }),
    ...(keepLoaded === undefined ? {} : { keepLoaded }),
    ...(yes === undefined ? {} : { yes }),
    ...(foreground === true ? { service: false } : {}),
    ...(service === true ? { service: true } : {}),
  };
}

function flagValues({ port, serveOthers }: StartFlags): Values {
  return {
    ...(port === undefined ? {} : { 'http.port': port }),
    ...(serveOthers === undefined ? {} : { 'provider.serve_others': true }),
  };
}
