import { Command } from 'commander';
import { z } from 'zod';
import { environment, findHome } from '../../config.js';
import { CheckResult, runChecks } from '../doctor.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { printHanging } from '../screen.js';
import { style } from '../style.js';

const BAD_EXIT = 65;
const NAME_WIDTH = 10;

export const DoctorOutput = z.strictObject({
  schema_version: SchemaVersion,
  checks: z.array(CheckResult).describe('In the order in which they ran'),
});
type DoctorOutput = z.infer<typeof DoctorOutput>;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check this installation by using it: a model is loaded and writes a token')
    .option('--strict', 'a warning is a failure too')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Each check ends within 60 s and says what to do when it fails. Exit code 65 when one failed.

Examples:
  $ darkbloom-provider doctor
  $ darkbloom-provider doctor --strict --json | jq '.checks[] | select(.verdict != "good")'`,
    )
    .action(doctor);
}

async function doctor({ strict, json }: { strict?: true; json?: true }): Promise<void> {
  const results = await runChecks(findHome(environment), json === true ? () => undefined : printResult);
  if (json === true) printJson<DoctorOutput>({ schema_version: 1, checks: results });
  const failed = results.some(({ verdict }) => verdict === 'bad' || (strict === true && verdict === 'warning'));
  if (failed) process.exitCode = BAD_EXIT;
}

function printResult({ name, verdict, detail, fix }: CheckResult): void {
  printHanging(`  ${MARKS[verdict]} ${name.padEnd(NAME_WIDTH)}`, detail);
  if (fix !== undefined) printHanging(' '.repeat(NAME_WIDTH + 4), fix);
}

const MARKS = { good: style.green('✓'), warning: style.yellow('!'), bad: style.red('✗') } as const;
