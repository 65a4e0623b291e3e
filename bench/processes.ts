import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** CPU time and memory of other processes, as the system counts them. */
export interface ProcessUse {
  pid: number;
  parent: number;
  cpuSeconds: number;
  residentBytes: number;
}

/** Linux counts in ticks of 1/100 s on every machine that Node runs on. */
const TICKS_PER_SECOND = 100;

/** @throws Error when there is no such process any more. */
export function useOf(pid: number): ProcessUse {
  const use = process.platform === 'linux' ? linuxUse(pid) : listed(['-p', String(pid)])[0];
  if (use === undefined) throw new Error(`There is no process ${pid} any more.`);
  return use;
}

function childrenOf(pid: number): ProcessUse[] {
  return listed(['-A']).filter(({ parent }) => parent === pid);
}

/** CPU time and memory of a daemon, and of its runners together. */
export function useOfDaemon(pid: number): {
  daemon: ProcessUse;
  runners: { cpuSeconds: number; residentBytes: number };
} {
  const runners = childrenOf(pid).map((child) => useOf(child.pid));
  const sum = (of: (use: ProcessUse) => number) => runners.reduce((total, use) => total + of(use), 0);
  return {
    daemon: useOf(pid),
    runners: { cpuSeconds: sum((use) => use.cpuSeconds), residentBytes: sum((use) => use.residentBytes) },
  };
}

function linuxUse(pid: number): ProcessUse | undefined {
  let stat: string;
  let status: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    status = readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name before may hold spaces
  const [, kibibytes = '0'] = /^VmRSS:\s+(\d+) kB/mu.exec(status) ?? [];
  return {
    pid,
    parent: Number(fields[1]),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    residentBytes: Number(kibibytes) * 1024,
  };
}

/** `ps` shows hundredths of a second on a Mac, whole seconds on Linux. */
function listed(which: readonly string[]): ProcessUse[] {
  const lines = execFileSync('ps', [...which, '-o', 'pid=,ppid=,time=,rss='], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return lines.map(parsePsLine).filter((use) => use !== undefined);
}

/** `  501     1   1:02.34  20480` */
export function parsePsLine(line: string): ProcessUse | undefined {
  const [, pid, parent, time, kibibytes] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\d+)\s*$/u.exec(line) ?? [];
  if (time === undefined) return undefined;
  return {
    pid: Number(pid),
    parent: Number(parent),
    cpuSeconds: secondsOf(time),
    residentBytes: Number(kibibytes) * 1024,
  };
}

/** `[[days-]hours:]minutes:seconds[.hundredths]` */
function secondsOf(time: string): number {
  const [days = '0', clock = time] = time.includes('-') ? time.split('-') : [];
  return clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400;
}
