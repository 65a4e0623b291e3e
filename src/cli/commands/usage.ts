import { statSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { environment, findHome, type Home } from '../../config.js';
import { readUsage, WRITE_EVERY_MS } from '../../service/usage-journal.js';
import { MAX_DAYS, type UsageRow } from '../../service/usage-rows.js';
import { localDayBefore } from '../../util/local-day.js';
import { askUsage } from '../control-client.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { DEFAULT_WIDTH, screenWidth, wrapped } from '../screen.js';
import { print } from '../style.js';
import {
  grouped,
  GroupedRow,
  GROUPINGS,
  Total,
  totalOf,
  usageCsv,
  usageTable,
  type Grouping,
} from '../usage-report.js';

export const UsageOutput = z.strictObject({
  schema_version: SchemaVersion,
  source: z
    .enum(['daemon', 'file'])
    .describe('`daemon`: asked from the running daemon; `file`: no daemon serves, as it was last written'),
  since: z.iso.date().optional().describe('the first day that was asked for'),
  grouped_by: z.enum(GROUPINGS).describe('what the rows are told apart by, beside `for`'),
  rows: z.array(GroupedRow).describe('sorted by day, then model; `day` or `model` is absent where it is summed up'),
  total: Total.describe('all rows together'),
});
type UsageOutput = z.infer<typeof UsageOutput>;

interface UsageFlags {
  since?: string;
  by?: 'day' | 'model';
  csv?: true;
  json?: true;
}

export function usageCommand(): Command {
  return new Command('usage')
    .description('requests and tokens that this machine answered, by day and model')
    .option('--since <day>', 'the last days with today (7d), or from a day on (2026-11-01)', sinceDay)
    .addOption(new Option('--by <what>', 'sum the models of a day, or the days of a model').choices(['day', 'model']))
    .addOption(new Option('--csv', 'RFC 4180, with a header row').conflicts('json'))
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
This machine's own count, whichever way a request came. A request counts when it
ends, for the local calendar day of that moment, if a model had taken it up: one
that was refused does not. \`why\` sends one of its own. Tokens of failed requests
are not known and not counted.

The newest ${MAX_DAYS} days with any request are kept, in usage.json of the home; a
crash loses the last ${WRITE_EVERY_MS / 1_000} s at most. There are no contents in it, and no prices:
money is in the coordinator's books, GET /v1/payments/balance there.

Examples:
  $ darkbloom-provider usage --since 7d
  $ darkbloom-provider usage --by model
  $ darkbloom-provider usage --csv > usage.csv
  $ darkbloom-provider usage --json | jq .total.completion_tokens`,
    )
    .action(usage);
}

const Day = z.iso.date();

/** The first day that is meant. */
function sinceDay(text: string): string {
  const days = Number(/^(\d{1,4})d$/u.exec(text)?.[1] ?? 0);
  if (days > 0) return localDayBefore(Date.now(), days - 1);
  if (Day.safeParse(text).success) return text;
  throw new InvalidArgumentError('say a number of days like 7d, or a day like 2026-11-01.');
}

async function usage({ since, by, csv, json }: UsageFlags): Promise<void> {
  const home = findHome(environment);
  const fromDaemon = await askUsage(home);
  const all = fromDaemon ?? readUsage(home.usage);
  const asked = all.filter(({ day }) => since === undefined || day >= since);
  const grouping: Grouping = by ?? 'day_and_model';
  const rows = grouped(asked, grouping);
  const output: UsageOutput = UsageOutput.parse({
    schema_version: 1,
    source: fromDaemon === undefined ? 'file' : 'daemon',
    ...(since === undefined ? {} : { since }),
    grouped_by: grouping,
    rows,
    total: totalOf(rows),
  });
  if (json === true) printJson<UsageOutput>(output);
  else if (csv === true) process.stdout.write(usageCsv(rows, grouping));
  else printUsage(output, all, home);
}

function printUsage(output: UsageOutput, all: readonly UsageRow[], home: Home): void {
  const { rows, grouped_by: by, source } = output;
  if (rows.length === 0) printParagraph(nothingText(output, all));
  else for (const line of usageTable(rows, by, process.stdout.columns || Infinity)) print(line);
  const notes = [...(rows.length === 0 ? [] : explanations(output)), ...(source === 'file' ? [fileText(home)] : [])];
  if (notes.length > 0) print();
  for (const note of notes) printParagraph(note);
}

function nothingText({ since }: UsageOutput, all: readonly UsageRow[]): string {
  const newest = all.at(-1)?.day;
  if (newest !== undefined) return `No request since ${since ?? ''}. The newest was on ${newest}.`;
  return (
    'No request was counted in this home yet. The first one that a model of this machine takes up begins the journal: ' +
    '`darkbloom-provider local` shows how to send one.'
  );
}

function explanations({ rows, total }: UsageOutput): string[] {
  const { cancelled, failed } = total;
  return [
    ...(cancelled + failed === 0 ? [] : [`Unfinished: ${cancelled} cancelled, ${failed} failed.`]),
    ...(rows.some(({ for: who }) => who === 'unknown')
      ? ['unknown: the coordinator did not say whose requests these were.']
      : []),
    'Days are those of this machine. No prices here: what was earned is in the books of the coordinator, ' +
      'GET /v1/payments/balance there.',
  ];
}

function fileText({ usage: path }: Home): string {
  const written = statSync(path, { throwIfNoEntry: false })?.mtime;
  if (written === undefined) return 'No daemon serves in this home, and there is no journal yet.';
  return `No daemon serves in this home: as written to ${path} at ${written.toLocaleString('sv-SE')}.`;
}

function printParagraph(text: string): void {
  for (const line of wrapped(text, screenWidth(DEFAULT_WIDTH))) print(line);
}
