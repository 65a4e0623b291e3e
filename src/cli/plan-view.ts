import type { Plan, PlanLine } from '../models/plan.js';
import { wrapped } from './screen.js';
import { style } from './style.js';
import { gib } from '../util/byte-words.js';

/** A plan in words and columns, as lines no wider than `width`. Pure. */

const GAP = '  ';

export function planLines(plan: Plan & { machine: string }, width: number): string[] {
  const { machine, limitBytes, rows, contextTokens, lines, recommended } = plan;
  const withSums = table(lines, true);
  const isWide = widthOf(withSums) <= width;
  const said = [
    `${machine}: models may take ${gib(limitBytes)} GiB together.`,
    `A model needs ${isWide ? 'weights + KV cache + compute + reserve' : 'this much'} (GiB), for ` +
      `${rows} requests at once of ${contextTokens} tokens each.`,
  ].flatMap((text) => wrapped(text, width));
  const [head = '', ...body] = isWide ? withSums : table(lines, false);
  return [
    ...said,
    '',
    style.dim(head),
    ...body,
    '',
    ...notes(plan, isWide).flatMap((note) => wrapped(note, width)),
    ...advice(recommended),
  ];
}

function table(lines: readonly PlanLine[], withSums: boolean): string[] {
  const rows = lines.map((line) => {
    const { weightBytes, kvBytes, computeBytes, reserveBytes, neededBytes } = line.sum;
    const sum = [weightBytes, kvBytes, computeBytes, reserveBytes].map(gib).join(' + ');
    const needs = `${line.isEstimate ? '~' : ''}${gib(neededBytes)}`;
    return [line.alias, line.quantization, needs, ...(withSums ? [`= ${sum}`] : []), verdict(line)];
  });
  const all = [['model', 'build', 'needs', ...(withSums ? [''] : []), ''], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join(GAP)
      .trimEnd(),
  );
}

function widthOf(lines: readonly string[]): number {
  return Math.max(...lines.map(({ length }) => length));
}

function verdict({ fits, leftBytes, rows, contextTokens }: PlanLine): string {
  switch (fits) {
    case 'as_set':
      return 'fits';
    case 'smaller':
      return `fits ${rows} × ${contextTokens}`;
    case 'no':
      return `${gib(-leftBytes)} missing`;
    default:
      return fits satisfies never;
  }
}

/** What the words of the table mean, as far as they stand in it. */
function notes({ lines }: Plan, withSums: boolean): string[] {
  const smallest = lines.find(({ fits }) => fits === 'no');
  const said = [
    lines.some(({ fits }) => fits === 'smaller') &&
      'fits R × T: only so, R requests at once of T tokens each; engine.slots and engine.context_tokens set them.',
    smallest !== undefined &&
      `missing: even for ${smallest.rows} request of ${smallest.contextTokens} tokens; its sum is the one shown.`,
    lines.some(({ isEstimate }) => isEstimate) && '~: the catalogue does not know its cache, the sum is an estimate.',
    !withSums && 'A wider terminal, or --json, shows the parts of each sum.',
  ];
  return said.filter((note) => note !== false).map((note) => style.dim(note));
}

function advice(recommended: PlanLine | undefined): string[] {
  if (recommended !== undefined) return ['Recommended:', `  darkbloom-provider models download ${recommended.alias}`];
  return [
    'Nothing of the catalogue fits. A smaller own GGUF file may:',
    '  darkbloom-provider config set models.files.NAME PATH',
  ];
}
