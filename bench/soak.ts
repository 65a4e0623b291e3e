import { parseArgs } from 'node:util';
import { reportFailure } from '../src/cli/failure.js';
import { DarkbloomError } from '../src/errors.js';
import { quantizedModel } from './bench-model.js';
import { exitOnSignals } from './child.js';
import { machineInWords, thisMachine } from './report.js';
import { memoryFaults, memoryGrowth, soak, soakFaults, type SoakReport } from './soak-run.js';

const SCHEMA_VERSION = 1;
const MIB = 1024 ** 2;
/** Of a shorter run the memory says nothing: all of it is warm-up. */
const JUDGE_MEMORY_FROM_S = 120;

const USAGE = `usage: npm run soak -- [options]

64 clients on 8 rows through the local port, ragged, a fifth of them leaving in the middle. Exit code 1 when a request
failed, a row stayed busy, answers differ from those given alone (but for a few that rounding decides), or memory grew
after the warm-up.

options
  --minutes N             how long (5)
  --seed N                of prompts, lengths and leaving (1)
  --threads N             of the model (2)
  --model PATH            another GGUF file
  --json                  one JSON object on stdout
`;

async function run(): Promise<boolean> {
  const { values } = parsed();
  if (values.help) {
    process.stdout.write(USAGE);
    return true;
  }
  exitOnSignals();
  const progress = (line: string) => process.stderr.write(`${line}\n`);
  progress(machineInWords(thisMachine()));
  const seconds = number('minutes', values.minutes) * 60;
  const report = await soak({
    seconds,
    seed: number('seed', values.seed),
    threads: number('threads', values.threads),
    model: values.model ?? quantizedModel(),
    progress,
  });
  const faults = [...soakFaults(report), ...(seconds >= JUDGE_MEMORY_FROM_S ? memoryFaults(report.memory) : [])];
  if (values.json) {
    const growth = memoryGrowth(report.memory);
    process.stdout.write(
      `${JSON.stringify({ schema_version: SCHEMA_VERSION, machine: thisMachine(), ...report, growth, faults })}\n`,
    );
  } else print(report, faults);
  return faults.length === 0;
}

function print(report: SoakReport, faults: readonly string[]): void {
  const { seconds, done, aborted, refused, compared, different, memory } = report;
  const out = (line: string) => process.stdout.write(`${line}\n`);
  out(`${done} answers, ${aborted} left in the middle, ${refused} refusals obeyed, in ${seconds} s`);
  out(`${compared} answers asked again alone, ${different} different`);
  const growth = memoryGrowth(memory);
  for (const who of ['daemon', 'runner'] as const) {
    const bytes = memory.map((sample) => (who === 'daemon' ? sample.daemonBytes : sample.runnerBytes));
    const { perHourBytes, overRunBytes } = growth[who];
    const [first, most, last] = [bytes[0] ?? NaN, Math.max(...bytes), bytes.at(-1) ?? NaN].map((each) =>
      Math.round(each / MIB),
    );
    out(
      `${who}: ${first} MiB at first, ${most} at most, ${last} at the end; after the warm-up ` +
        `${Math.round(overRunBytes / MIB)} MiB more over the run (${Math.round(perHourBytes / MIB)} MiB an hour)`,
    );
  }
  for (const fault of faults) out(`FAULT: ${fault}`);
  if (faults.length === 0) out('nothing stayed behind');
}

function parsed() {
  try {
    return parseArgs({
      options: {
        minutes: { type: 'string', default: '5' },
        seed: { type: 'string', default: '1' },
        threads: { type: 'string', default: '2' },
        model: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new DarkbloomError('usage', error instanceof Error ? error.message : 'The options cannot be read.');
  }
}

function number(name: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new DarkbloomError('usage', `--${name} takes a number above 0, not '${text}'.`);
}

try {
  process.exitCode = (await run()) ? 0 : 1;
} catch (error) {
  process.exitCode = reportFailure(error, false);
}
