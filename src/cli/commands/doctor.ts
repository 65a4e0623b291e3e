import { Command } from 'commander';
import { environment, findHome } from '../../config.js';
import { runChecks, type CheckResult } from '../doctor.js';
import { print, style } from '../style.js';

const SCHEMA_VERSION = 1;
const BAD_EXIT = 65;
const NAME_WIDTH = 10;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check this installation by using it: a model is loaded and writes a token')
    .option('--strict', 'a warning is a failure too')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      '\nEach check ends within 60 s and says what to do when it fails. Exit code 65 when one failed.',
    )
    .action(doctor);
}

async function doctor({ strict, json }: { strict?: true; json?: true }): Promise<void> {
  const results = await runChecks(findHome(environment), json === true ? () => undefined : printResult);
  if (json === true) print(JSON.stringify({ schema_version: SCHEMA_VERSION, checks: results }));
  const failed = results.some(({ verdict }) => verdict === 'bad' || (strict === true && verdict === 'warning'));
  if (failed) process.exitCode = BAD_EXIT;
}

function printResult({ name, verdict, detail, fix }: CheckResult): void {
  print(`  ${MARKS[verdict]} ${name.padEnd(NAME_WIDTH)}${detail}`);
  if (fix !== undefined) print(`  ${' '.repeat(NAME_WIDTH + 2)}${fix}`);
}

const MARKS = { good: style.green('✓'), warning: style.yellow('!'), bad: style.red('✗') } as const;
