import { readdirSync, readFileSync } from 'node:fs';
import { eventually } from './eventually.js';

/** Processes as the kernel of Linux shows them. */

export const hasProc = process.platform === 'linux';

/** The children of a process, their children, and so on. */
export function descendantsOf(pid: number): number[] {
  const children = runningProcesses().filter((candidate) => statOf(candidate)?.parent === pid);
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

/** Resolves when none of these processes is there any more. One that nobody has reaped yet is gone. */
export async function untilGone(pids: readonly number[]): Promise<void> {
  await eventually(`the processes ${pids.join(', ')} are gone`, () => (pids.some(isRunning) ? undefined : true));
}

function isRunning(pid: number): boolean {
  const stat = statOf(pid);
  return stat !== undefined && stat.state !== 'Z';
}

/** Its arguments, the program first. */
export function argumentsOf(pid: number): string[] {
  return procFile(pid, 'cmdline').split('\0').slice(0, -1);
}

/** `NAME=value` of all variables it was started with. */
export function environmentOf(pid: number): string[] {
  return procFile(pid, 'environ').split('\0').slice(0, -1);
}

/** The soft and the hard limit of a core file. */
export function coreLimitsOf(pid: number | 'self'): [string, string] {
  const [, soft = '', hard = ''] = /^Max core file size +(\S+) +(\S+)/mu.exec(procFile(pid, 'limits')) ?? [];
  return [soft, hard];
}

function runningProcesses(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/u.test(name))
    .map(Number);
}

function procFile(pid: number | 'self', name: string): string {
  return readFileSync(`/proc/${pid}/${name}`, 'utf8');
}

function statOf(pid: number): { state: string; parent: number } | undefined {
  try {
    const [, state = '', parent = ''] = /^.*\) (\S) (\d+)/su.exec(procFile(pid, 'stat')) ?? [];
    return { state, parent: Number(parent) };
  } catch {
    return undefined; // it has ended meanwhile
  }
}
