import { Command, InvalidArgumentError } from 'commander';
import { environment, findHome, loadSettings, type Values } from '../../config.js';
import { Daemon } from '../../daemon.js';
import { createLog } from '../../log.js';
import { VERSION } from '../../util/version.js';
import { warnAboutNetwork } from '../network-warning.js';
import { print, printFact, style } from '../style.js';
import { listenForStop } from '../stopping.js';

interface StartFlags {
  foreground?: true;
  port?: number;
  serveOthers?: true;
}

export function startCommand(): Command {
  return new Command('start')
    .description('serve the models of this machine')
    .option('--foreground', 'stay in this terminal (the only way in this version; the background service comes later)')
    .option('--port <number>', 'HTTP port for programs on this machine; 0 takes a free one', portNumber)
    .option('--serve-others', 'also serve other accounts of the coordinator')
    .addHelpText(
      'after',
      `
Without coordinator.url in the settings this machine is its own coordinator: everything runs here, no account is
needed, and your own requests are free. \`darkbloom-provider link URL\` serves a coordinator elsewhere instead.

Examples:
  $ darkbloom-provider start --foreground
  $ darkbloom-provider start --foreground --port 9000`,
    )
    .action(start);
}

export function portNumber(text: string): number {
  const port = Number(text);
  if (/^\d+$/u.test(text) && port <= 65_535) return port;
  throw new InvalidArgumentError('a port is a number from 0 to 65535.');
}

async function start(flags: StartFlags): Promise<void> {
  const home = findHome(environment);
  const settings = loadSettings(home, environment, flagValues(flags));
  const log = createLog(settings.log.level, process.stderr);
  const stop = listenForStop();
  warnAboutNetwork(settings.http.host);
  const daemon = await Daemon.start({ home, settings, env: environment, log, stopAsked: stop.ask });

  const { base_url, mode } = daemon.record;
  print(`${style.bold('Darkbloom provider')} ${VERSION}`);
  printFact(
    'mode',
    mode === 'local' ? 'local: this machine is its own coordinator' : `linked to ${settings.coordinator.url ?? ''}`,
  );
  printFact('models', daemon.models.map(({ alias }) => alias).join(', '));
  printFact('address', base_url);
  printFact('home', home.folder);
  print(`Ready. \`darkbloom-provider local\` prints the key and examples. Ctrl-C stops after running requests.`);

  await stop.asked;
  if (daemon.requestsRunning > 0)
    print(`Stopping after ${daemon.requestsRunning} running requests; Ctrl-C again stops now.`);
  await daemon.drain(stop.force);
  await daemon.close();
  print('Stopped.');
}

function flagValues({ port, serveOthers }: StartFlags): Values {
  return {
    ...(port === undefined ? {} : { 'http.port': port }),
    ...(serveOthers === undefined ? {} : { 'provider.serve_others': true }),
  };
}
