import { reportFailure } from '../src/cli/failure.js';
import { DarkbloomError } from '../src/errors.js';
import { Lifetime } from '../src/util/lifetime.js';
import { VERSION } from '../src/util/version.js';
import { benchModel } from './bench-model.js';
import { exitOnSignals } from './child.js';
import { compare, ratios, summaries, type Series } from './compare.js';
import { benchCoordinator, COORDINATOR_FLOORS } from './coordinator-suite.js';
import { judge } from './floors.js';
import { growth } from './growth.js';
import { parseOptions, USAGE, type Options } from './options.js';
import { floorTable, machineInWords, ratioTable, seriesTable, thisMachine } from './report.js';

const SCHEMA_VERSION = 1;

/** One kind of question each. What they print goes to stdout, progress to stderr. Returns whether all is well. */
type Suite = (options: Options, life: Lifetime) => Promise<boolean>;

const SUITES: Readonly<Record<string, Suite>> = {
  compare: runCompare,
  floors: runFloors,
  growth: runGrowth,
  coordinator: runCoordinator,
};

async function runCompare(options: Options, life: Lifetime): Promise<boolean> {
  const { series, problems } = await compare(options, modelOf(options), life, progress);
  if (options.json) printJson(options, { problems, series: summaries(series), ratios: ratios(series) });
  else printSeries(series, problems);
  return problems.length === 0;
}

async function runFloors(options: Options, life: Lifetime): Promise<boolean> {
  if (options.llamaServer === undefined && !options.peers.some(({ name }) => name === 'llama-server'))
    throw new DarkbloomError(
      'usage',
      'Most floors are relative to it: give --llama-server PATH, or --peer llama-server=URL of a running one.',
    );
  const { series, problems } = await compare(options, modelOf(options), life, progress);
  const floors = judge(series);
  if (options.json) printJson(options, { floors, problems, series: summaries(series), ratios: ratios(series) });
  else {
    printSeries(series, problems);
    print(`\n${floorTable(floors)}`);
  }
  return problems.length === 0 && floors.every(({ verdict }) => verdict !== 'not met');
}

async function runGrowth(options: Options, life: Lifetime): Promise<boolean> {
  const series = await growth(options, life, progress);
  if (options.json) printJson(options, { series: summaries(series) });
  else print(seriesTable(summaries(series)));
  return true;
}

async function runCoordinator(options: Options, life: Lifetime): Promise<boolean> {
  const { series, problems } = await benchCoordinator(options, life, progress);
  const floors = judge(series, COORDINATOR_FLOORS);
  if (options.json) printJson(options, { floors, problems, series: summaries(series) });
  else {
    print(seriesTable(summaries(series)));
    for (const problem of problems) print(`PROBLEM: ${problem}`);
    print(`\n${floorTable(floors)}`);
  }
  return problems.length === 0 && floors.every(({ verdict }) => verdict !== 'not met');
}

function modelOf({ model, rows, contextTokens, threads }: Options) {
  return { path: model ?? benchModel(), rows, contextTokens, threads };
}

function printSeries(series: readonly Series[], problems: readonly string[]): void {
  print(seriesTable(summaries(series)));
  const compared = ratios(series);
  if (compared.length > 0) print(`\n${ratioTable(compared)}`);
  for (const problem of problems) print(`PROBLEM: ${problem}`);
}

function printJson(options: Options, result: object): void {
  const { suite, repeats, rows, contextTokens, threads, seed } = options;
  const settings = { repeats, rows, contextTokens, threads, seed };
  print(
    JSON.stringify({
      schema_version: SCHEMA_VERSION,
      version: VERSION,
      machine: thisMachine(),
      suite,
      settings,
      ...result,
    }),
  );
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function run(args: readonly string[]): Promise<boolean> {
  if (args.includes('--help') || args.includes('-h')) {
    print(USAGE);
    return true;
  }
  const options = parseOptions(args);
  const suite = SUITES[options.suite];
  if (suite === undefined)
    throw new DarkbloomError(
      'usage',
      `There is no suite '${options.suite}'. There are: ${Object.keys(SUITES).join(', ')}.`,
    );
  progress(machineInWords(thisMachine()));
  await using life = new Lifetime();
  exitOnSignals();
  return await suite(options, life);
}

try {
  process.exitCode = (await run(process.argv.slice(2))) ? 0 : 1;
} catch (error) {
  process.exitCode = reportFailure(error, false);
}
