import { availableParallelism, cpus, release, totalmem } from 'node:os';
import Table from 'cli-table3';
import { rounded, type Ratio, type SeriesSummary } from './compare.js';
import type { Judged } from './floors.js';

/** The kind of machine: figures of two kinds are not compared. */
export interface Machine {
  platform: string;
  arch: string;
  cpu: string;
  cores: number;
  memoryGiB: number;
  node: string;
}

export function thisMachine(): Machine {
  return {
    platform: `${process.platform} ${release()}`,
    arch: process.arch,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    node: process.version,
  };
}

export function machineInWords({ platform, arch, cpu, cores, memoryGiB, node }: Machine): string {
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${platform} ${arch}, Node ${node}`;
}

export function seriesTable(series: readonly SeriesSummary[]): string {
  return table(
    ['load', 'figure', 'who', 'median', 'least', 'most'],
    inOrder(series).map(({ load, figure, contender, summary }) => [
      load,
      figure,
      contender,
      ...[summary.median, summary.low, summary.high].map(rounded),
    ]),
  );
}

export function ratioTable(ratios: readonly Ratio[]): string {
  return table(
    ['load', 'figure', 'who ÷ whom', 'ratio', '90 % interval'],
    inOrder(ratios).map(({ load, figure, contender, against, median, low, high }) => [
      load,
      figure,
      `${contender} ÷ ${against}`,
      rounded(median),
      `${rounded(low)} … ${rounded(high)}`,
    ]),
  );
}

export function floorTable(judged: readonly Judged[]): string {
  return table(
    ['figure', 'measured', '90 % interval', 'floor', 'aim', ''],
    judged.map(({ name, unit, better, floor, aim, measured, verdict }) => {
      const bound = (value: number) => `${better === 'higher' ? '≥' : '≤'} ${inUnit(value, unit)}`;
      return [
        name,
        measured === undefined ? '-' : inUnit(measured.median, unit),
        measured === undefined ? '-' : `${inUnit(measured.low, unit)} … ${inUnit(measured.high, unit)}`,
        bound(floor),
        bound(aim),
        verdict,
      ];
    }),
  );
}

function inUnit(value: number, unit: Judged['unit']): string {
  switch (unit) {
    case 'ratio':
      return value.toFixed(2);
    case 'ms':
      return `${value.toFixed(1)} ms`;
    case 'share':
      return `${(value * 100).toFixed(1)} %`;
    case 'rate':
      return `${value.toFixed(0)}/s`;
    default:
      return unit satisfies never;
  }
}

/** Loads as they were measured; within one, the contenders of a figure below one another. */
function inOrder<T extends { load: string; figure: string }>(rows: readonly T[]): T[] {
  const first = (row: T) => rows.findIndex(({ load, figure }) => load === row.load && figure === row.figure);
  return [...rows].sort((a, b) => first(a) - first(b));
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const bare = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' }; // prettier-ignore
  const drawn = new Table({
    head: [...head],
    chars: bare,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  drawn.push(...rows.map((row) => [...row]));
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
