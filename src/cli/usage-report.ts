import { z } from 'zod';
import { NOTHING, sumOf, UsageRow, type UsageCounts } from '../service/usage-rows.js';
import { fit } from './screen.js';
import { style } from './style.js';

/** The journal as tables for people and for programs. Pure. */

export const GROUPINGS = ['day_and_model', 'day', 'model'] as const;
export type Grouping = (typeof GROUPINGS)[number];

const REQUESTS = z.int().nonnegative().describe('completed, cancelled and failed requests together');
const { day, model, for: who, ...counts } = UsageRow.shape;

export const GroupedRow = z.strictObject({
  day: day.optional(),
  model: model.optional(),
  for: who,
  requests: REQUESTS,
  ...counts,
});
export type GroupedRow = z.infer<typeof GroupedRow>;

export const Total = z.strictObject({ requests: REQUESTS, ...counts });
type Total = z.infer<typeof Total>;

/** Rows that differ only in what is not asked for become one. Sorted by day, then model, then whose requests. */
export function grouped(rows: readonly UsageRow[], by: Grouping): GroupedRow[] {
  const groups = new Map<string, GroupedRow>();
  for (const { day, model, for: who, ...counts } of rows) {
    const name = { ...(by === 'model' ? {} : { day }), ...(by === 'day' ? {} : { model }), for: who };
    const key = Object.values(name).join('\n');
    groups.set(key, { ...name, ...withRequests(sumOf(groups.get(key) ?? NOTHING, counts)) });
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

export function totalOf(rows: readonly UsageCounts[]): Total {
  return withRequests(rows.reduce<UsageCounts>(sumOf, NOTHING));
}

function withRequests(counts: UsageCounts): Total {
  return { requests: counts.completed + counts.cancelled + counts.failed, ...counts };
}

/** What rows are told apart by, beside `for`. */
function namesOf(by: Grouping): ('day' | 'model')[] {
  return by === 'day_and_model' ? ['day', 'model'] : [by];
}

/** RFC 4180, with a header row. */
export function usageCsv(rows: readonly GroupedRow[], by: Grouping): string {
  const counts = ['requests', 'completed', 'cancelled', 'failed', 'prompt_tokens', 'completion_tokens'] as const;
  const columns = [...namesOf(by), 'for' as const, ...counts];
  const lines = [columns, ...rows.map((row) => columns.map((column) => String(row[column])))];
  return lines.map((line) => `${line.map(csvField).join(',')}\r\n`).join('');
}

function csvField(text: string): string {
  return /[",\r\n]/u.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const GAP = '  ';
const MIN_MODEL_WIDTH = 8;

/** Lines no wider than `width` unless the numbers alone are: a long model name is cut. */
export function usageTable(rows: readonly GroupedRow[], by: Grouping, width: number): string[] {
  const total = totalOf(rows);
  const hasUnfinished = total.cancelled + total.failed > 0;
  const numbers = (counts: Total): string[] =>
    [
      counts.requests,
      ...(hasUnfinished ? [counts.cancelled + counts.failed] : []),
      counts.prompt_tokens,
      counts.completion_tokens,
    ].map((count) => count.toLocaleString('en-US'));
  const names = namesOf(by);
  const totalNames = names.map((_, index) => (index === 0 ? 'total' : ''));
  const people = (['own', 'others', 'unknown'] as const).filter((who) => rows.some((row) => row.for === who));
  const parts = people.length < 2 ? [] : people;
  const head = [...names, 'for', 'requests', ...(hasUnfinished ? ['unfinished'] : []), 'tokens in', 'tokens out'];
  const texts = [
    head,
    ...rows.map((row) => [...names.map((name) => row[name] ?? ''), WORDS[row.for], ...numbers(row)]),
    ...parts.map((who) => [...totalNames, WORDS[who], ...numbers(totalOf(rows.filter((row) => row.for === who)))]),
    [...totalNames, parts.length === 0 ? '' : 'all', ...numbers(total)],
  ];
  return aligned(texts, head.indexOf('model'), width);
}

const WORDS: Readonly<Record<UsageRow['for'], string>> = { own: 'you', others: 'others', unknown: 'unknown' };

/** Words to the left, numbers (after the column `for`) to the right. The head is dim. */
function aligned(texts: readonly string[][], modelColumn: number, width: number): string[] {
  const columns = texts[0]?.length ?? 0;
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...texts.map((line) => line[column]?.length ?? 0)),
  );
  const excess = widths.reduce((sum, each) => sum + each, 0) + GAP.length * (columns - 1) - width;
  const modelWidth = widths[modelColumn];
  if (modelWidth !== undefined && excess > 0) {
    widths[modelColumn] = Math.min(modelWidth, Math.max(MIN_MODEL_WIDTH, modelWidth - excess));
  }
  const firstNumber = texts[0]?.indexOf('requests') ?? 0;
  return texts.map((line, index) => {
    const cells = line.map((text, column) => {
      const room = widths[column] ?? 0;
      return column < firstNumber ? fit(text, room).padEnd(room) : text.padStart(room);
    });
    const text = cells.join(GAP).trimEnd();
    return index === 0 ? style.dim(text) : text;
  });
}
