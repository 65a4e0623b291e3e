import type { Commands } from './commands.js';
import { readSysctl } from './sysctl.js';

const PMSET = '/usr/bin/pmset';
const WAKE_KEY = 'kern.waketime';

export type PowerSource = 'ac' | 'battery' | 'ups';

const SOURCES: Readonly<Record<string, PowerSource>> = {
  'AC Power': 'ac',
  'Battery Power': 'battery',
  'UPS Power': 'ups',
};

export interface Power {
  source: PowerSource;
  /** Charge of the built-in battery, or of the first one listed; absent on a Mac without any. */
  batteryPercent?: number;
}

/** `undefined`: not a Mac, or the tool did not say. */
export async function readPower(commands: Commands, platform: NodeJS.Platform): Promise<Power | undefined> {
  if (platform !== 'darwin') return undefined;
  const { code, stdout } = await commands.run(PMSET, ['-g', 'batt']);
  return code === 0 ? powerOf(stdout) : undefined;
}

/** Reads `pmset -g batt`. The first line decides, never the word "charging": a battery held at 80 % is not charging
 *  although the Mac is plugged in. */
export function powerOf(output: string): Power | undefined {
  const [first = '', ...batteries] = output.split('\n');
  const source = SOURCES[/^Now drawing from '([^']+)'$/.exec(first.trimEnd())?.[1] ?? ''];
  if (source === undefined) return undefined;
  const builtIn = batteries.find((line) => line.includes('InternalBattery'));
  const percent = /\t(\d{1,3})%;/.exec(builtIn ?? batteries[0] ?? '')?.[1];
  return percent === undefined ? { source } : { source, batteryPercent: Number(percent) };
}

/** When this Mac woke up last, in ms since the epoch. `undefined`: it has not slept since it started, or is no Mac. */
export async function readWakeTime(commands: Commands, platform: NodeJS.Platform): Promise<number | undefined> {
  if (platform !== 'darwin') return undefined;
  const values = await readSysctl(commands, [WAKE_KEY]);
  const time = kernelTimeOf(values.get(WAKE_KEY) ?? '');
  return time === 0 ? undefined : time;
}

/** Reads a time as sysctl prints it, `{ sec = 1787929257, usec = 563642 } Fri Aug 28 …`, to ms since the epoch. */
export function kernelTimeOf(value: string): number | undefined {
  const found = /^\{ sec = (\d+), usec = (\d+) \}/.exec(value);
  return found === null ? undefined : Number(found[1]) * 1_000 + Math.floor(Number(found[2]) / 1_000);
}
