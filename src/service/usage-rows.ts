import { z } from 'zod';

/** What this machine answered, in sums: no contents, no prices, nobody's name. Pure. */

/** The newest days with any request that are kept. */
export const MAX_DAYS = 400;
/** Models of one day that are told apart; a file that somebody edited, or a name in `models.files` that changes with
 *  every start, must not grow the journal without end. */
export const MAX_MODELS_A_DAY = 16;
/** Stands for the models of a day beyond that. */
export const OTHER_MODELS = '(other models)';

const Count = z.int().nonnegative();

export const UsageRow = z.strictObject({
  day: z.iso.date().describe('local calendar day on which the requests ended, `2026-06-21`'),
  model: z.string().min(1).describe('the name that local clients use for it'),
  for: z
    .enum(['own', 'others', 'unknown'])
    .describe(
      "whose requests: `own` of this machine's owner, `others` of other accounts, `unknown` where the coordinator did not say",
    ),
  completed: Count.describe('requests that were answered to their end'),
  cancelled: Count.describe('requests whose client left, or that a stop of this machine cut off'),
  failed: Count.describe('requests that the model had taken up and that ended with an error'),
  prompt_tokens: Count.describe('tokens of the prompts of completed and cancelled requests'),
  completion_tokens: Count.describe('tokens written for completed and cancelled requests'),
});
export type UsageRow = z.infer<typeof UsageRow>;
export type UsageCounts = Omit<UsageRow, 'day' | 'model' | 'for'>;

export const NOTHING: UsageCounts = {
  completed: 0,
  cancelled: 0,
  failed: 0,
  prompt_tokens: 0,
  completion_tokens: 0,
};

/** The journal on disk, and what the daemon says of it over the control socket. */
export const UsageFile = z.strictObject({ schema_version: z.literal(1), rows: z.array(UsageRow) });
export type UsageFile = z.infer<typeof UsageFile>;

export function sumOf(a: UsageCounts, b: UsageCounts): UsageCounts {
  return {
    completed: a.completed + b.completed,
    cancelled: a.cancelled + b.cancelled,
    failed: a.failed + b.failed,
    prompt_tokens: a.prompt_tokens + b.prompt_tokens,
    completion_tokens: a.completion_tokens + b.completion_tokens,
  };
}

/** The rows with one more, within the bounds: a row of the same day, model and `for` becomes part of the one before. */
export function withRow(rows: readonly UsageRow[], added: UsageRow): UsageRow[] {
  const models = new Set(rows.filter(({ day }) => day === added.day).map(({ model }) => model));
  const isKnown = models.has(added.model) || models.size < MAX_MODELS_A_DAY;
  const row = isKnown ? added : { ...added, model: OTHER_MODELS };
  const same = (other: UsageRow) => other.day === row.day && other.model === row.model && other.for === row.for;
  const before = rows.find(same);
  if (before !== undefined) return rows.map((other) => (other === before ? { ...row, ...sumOf(before, row) } : other));
  const all = [...rows, row].sort(inOrder);
  const days = [...new Set(all.map(({ day }) => day))];
  const dropped = new Set(days.slice(0, Math.max(0, days.length - MAX_DAYS)));
  return all.filter(({ day }) => !dropped.has(day));
}

function inOrder(a: UsageRow, b: UsageRow): number {
  const key = ({ day, model, for: who }: UsageRow) => `${day} ${model} ${who}`;
  return key(a) < key(b) ? -1 : 1;
}
