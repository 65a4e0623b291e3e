import Table from 'cli-table3';
import { stripVTControlCharacters } from 'node:util';
import { fit, screenWidth, wrapped } from './screen.js';
import { print, style } from './style.js';

const BARE = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' }; // prettier-ignore
/** So much of the first column stays at least. */
const MIN_FIRST_WIDTH = 8;

interface TableText {
  head: readonly string[];
  rows: readonly (readonly string[])[];
  /** Heads of the columns that a narrow screen does without, the first to go first. */
  spare?: readonly string[];
}

/** The table in lines of at most `width`: columns are left out, then the first one is cut. Pure. */
export function tableLines(table: TableText, width: number): { lines: string[]; leftOut: string[] } {
  const leftOut: string[] = [];
  for (const head of table.spare ?? []) {
    if (widthOf(drawn(without(leftOut, table))) <= width) break;
    leftOut.push(head);
  }
  const { head, rows } = without(leftOut, table);
  const over = widthOf(drawn({ head, rows })) - width;
  if (over <= 0) return { lines: drawn({ head, rows }), leftOut };
  const firstWidth = Math.max(MIN_FIRST_WIDTH, ...rows.map(([first = '']) => first.length)) - over;
  const cut = rows.map(([first = '', ...rest]) => [fit(first, Math.max(MIN_FIRST_WIDTH, firstWidth)), ...rest]);
  return { lines: drawn({ head, rows: cut }), leftOut };
}

function without(heads: readonly string[], { head, rows }: TableText): TableText {
  const kept = (_: string, column: number) => !heads.includes(head[column] ?? '');
  return { head: head.filter(kept), rows: rows.map((row) => row.filter(kept)) };
}

function drawn({ head, rows }: TableText): string[] {
  const bare = { head: [], border: [], 'padding-left': 0, 'padding-right': 0 };
  const table = new Table({ head: [...head], chars: BARE, style: bare });
  table.push(...rows.map((row) => [...row]));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd());
}

function widthOf(lines: readonly string[]): number {
  return Math.max(...lines.map((line) => stripVTControlCharacters(line).length));
}

/** As wide as the terminal; in a pipe whole. */
export function printTable(table: TableText): void {
  const width = screenWidth(Infinity);
  const { lines, leftOut } = tableLines(table, width);
  for (const line of lines) print(line);
  if (leftOut.length === 0) return;
  for (const line of wrapped(`No room here for: ${leftOut.join(', ')}.`, width)) print(style.dim(line));
}
