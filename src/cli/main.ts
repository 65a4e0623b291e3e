import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { nearest } from '../util/nearest.js';
import { VERSION } from '../util/version.js';
import { helpText } from './help.js';
import { DEFAULT_WIDTH, screenWidth } from './screen.js';
import { reportFailure, USAGE_EXIT } from './failure.js';

/** Every command, loaded when it is needed: one that only asks the daemon need not load what the daemon is made of. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  start: async () => (await import('./commands/start.js')).startCommand(),
  stop: async () => (await import('./commands/stop.js')).stopCommand(),
  restart: async () => (await import('./commands/restart.js')).restartCommand(),
  status: async () => (await import('./commands/status.js')).statusCommand(),
  why: async () => (await import('./commands/why.js')).whyCommand(),
  doctor: async () => (await import('./commands/doctor.js')).doctorCommand(),
  usage: async () => (await import('./commands/usage.js')).usageCommand(),
  privacy: async () => (await import('./commands/privacy.js')).privacyCommand(),
  report: async () => (await import('./commands/report.js')).reportCommand(),
  pause: async () => (await import('./commands/pause.js')).pauseCommand(),
  resume: async () => (await import('./commands/resume.js')).resumeCommand(),
  models: async () => (await import('./commands/models.js')).modelsCommand(),
  bench: async () => (await import('./commands/bench.js')).benchCommand(),
  logs: async () => (await import('./commands/logs.js')).logsCommand(),
  local: async () => (await import('./commands/local.js')).localCommand(),
  link: async () => (await import('./commands/link.js')).linkCommand(),
  unlink: async () => (await import('./commands/unlink.js')).unlinkCommand(),
  config: async () => (await import('./commands/config.js')).configCommand(),
  coordinator: async () => (await import('./commands/coordinator.js')).coordinatorCommand(),
  uninstall: async () => (await import('./commands/uninstall.js')).uninstallCommand(),
  completion: async () => (await import('./commands/completion.js')).completionCommand(loadOthers),
  demo: async () => (await import('./commands/demo.js')).demoCommand(),
};

/** For a failed command to close by itself. */
const LEFT_OPEN_MS = 5_000;

const HELP = `
Examples:
  $ darkbloom-provider demo                 see one request go the whole way, then try it from your own program
  $ darkbloom-provider start                serve this machine's models: in the background on a Mac
  $ darkbloom-provider status               what it does at this moment
  $ darkbloom-provider local                base URL and key for programs on this machine

Exit codes: 0 done, 64 the request was wrong, 65 settings or files are wrong, 70 a fault of ours,
75 try again later, 76 the other side failed, 130 interrupted.`;

/** Told from the raw words: a command line that cannot be understood fails in JSON too. */
const json = process.argv.includes('--json');

const program = new Command('darkbloom-provider')
  .description('Serves GGUF models from this machine to its owner, and to a Darkbloom-compatible coordinator.')
  .version(VERSION, '-V, --version')
  .addHelpText('after', HELP)
  .showSuggestionAfterError()
  .configureOutput({ outputError, writeOut })
  .exitOverride();

/** The one that is asked for; all of them for the help and for a suggestion. */
const [, , first = ''] = process.argv;
for (const load of loadersFor(first)) {
  program.addCommand(inheritExit(await load()));
}

/** With a default command inside, commander takes a word that it does not know for an argument of that one. */
function refuseUnknownWord([name = '', word = '']: readonly string[]): void {
  const inner = program.commands.find((command) => command.name() === name)?.commands ?? [];
  const names = [...inner.map((command) => command.name()), 'help'];
  if (inner.length === 0 || word === '' || word.startsWith('-') || names.includes(word)) return;
  const meant = nearest(word, names);
  const hint = meant === undefined ? `It has: ${names.join(', ')}.` : `Did you mean ${name} ${meant}?`;
  throw new DarkbloomError('usage', `There is no command ${name} ${word}. ${hint}`);
}

/** What commander says of a wrong command line; in JSON it is said at the end, in our shape. */
function outputError(text: string, write: (text: string) => void): void {
  if (!json) write(text);
}

function writeOut(text: string): void {
  process.stdout.write(helpText(text, screenWidth(DEFAULT_WIDTH)));
}

function usageError({ message }: CommanderError): DarkbloomError {
  return new DarkbloomError('usage', message.replace(/^error: /u, ''));
}

/** Every command but the one that asks. */
function loadOthers(): Promise<Command[]> {
  const others = Object.entries(COMMANDS).filter(([name]) => name !== 'completion');
  return Promise.all(others.map(([, load]) => load()));
}

function loadersFor(word: string): (() => Promise<Command>)[] {
  if (word === '-V' || word === '--version') return [];
  const asked = COMMANDS[word];
  return asked === undefined ? Object.values(COMMANDS) : [asked];
}

/** Without this a subcommand would end the process by itself, with an exit code that is not ours. */
function inheritExit(command: Command): Command {
  command.exitOverride();
  command.showSuggestionAfterError();
  command.configureOutput({ outputError, writeOut });
  for (const inner of command.commands) inheritExit(inner);
  return command;
}

// A reader such as `head` that has seen enough is no error.
process.stdout.on('error', (error) => {
  if (systemErrorCode(error) !== 'EPIPE') throw error;
});

try {
  if (process.argv.length <= 2) program.outputHelp();
  else {
    refuseUnknownWord(process.argv.slice(2));
    await program.parseAsync();
  }
} catch (error) {
  if (error instanceof CommanderError && !(error instanceof InvalidArgumentError)) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE_EXIT; // commander has printed what was wrong, unless in JSON
    if (json && error.exitCode !== 0) reportFailure(usageError(error), json);
  } else {
    process.exitCode = reportFailure(error, json);
    setTimeout(() => process.exit(), LEFT_OPEN_MS).unref(); // whatever a failed start left open does not keep us
  }
}
