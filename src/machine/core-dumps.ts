import { readFile } from 'node:fs/promises';
import type { Commands } from './commands.js';

/** True if the kernel says that no process of ours can write a core file, nor raise the limit again. Children inherit
 *  the limits, so on a Mac a shell is asked. */
export async function coreDumpsDisabled(commands: Commands, platform: NodeJS.Platform): Promise<boolean> {
  if (platform === 'linux') return limitsForbidCore(await readFile('/proc/self/limits', 'utf8').catch(() => ''));
  const { code, stdout } = await commands.run('/bin/sh', ['-c', 'ulimit -S -c; ulimit -H -c']);
  return code === 0 && ulimitForbidsCore(stdout);
}

/** Reads `/proc/self/limits`: the soft and the hard limit must be 0. */
export function limitsForbidCore(limits: string): boolean {
  return /^Max core file size +0 +0 /m.test(limits);
}

/** Reads the soft and the hard limit, one per line: both must be 0. */
export function ulimitForbidsCore(output: string): boolean {
  return output.trimEnd() === '0\n0';
}
