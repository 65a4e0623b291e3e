import type { Commands } from './commands.js';

const SYSCTL = '/usr/sbin/sysctl';

/** Values by key. A key the system does not know is not in it. */
export type SysctlValues = ReadonlyMap<string, string>;

/** Asks for `keys`. With `-i` unknown ones are left out silently, in place of failing the whole call. */
export async function readSysctl(commands: Commands, keys: readonly string[]): Promise<SysctlValues> {
  const { stdout } = await commands.run(SYSCTL, ['-i', ...keys]);
  return parseSysctl(stdout);
}

/** Reads `name: value` lines; every other line is dropped. Their order means nothing. */
export function parseSysctl(text: string): SysctlValues {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const found = /^([A-Za-z0-9_.]+): (.*)$/.exec(line.trimEnd());
    if (found?.[1] !== undefined && found[2] !== undefined) values.set(found[1], found[2]);
  }
  return values;
}

/** A whole number that is not negative, `undefined` if the key is missing or holds something else. */
export function wholeNumber(values: SysctlValues, key: string): number | undefined {
  const text = values.get(key);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/**
 * Cores by kind. Level 0 is the fastest kind whatever its name is (Performance, Super, Standard); all lower levels
 * count as efficiency. `undefined` on a machine without levels (Intel).
 */
export function coresByLevel(values: SysctlValues): { performance: number; efficiency: number } | undefined {
  const performance = wholeNumber(values, 'hw.perflevel0.physicalcpu');
  if (performance === undefined) return undefined;
  let efficiency = 0;
  for (const key of values.keys()) {
    if (/^hw\.perflevel[1-9]\d*\.physicalcpu$/.test(key)) efficiency += wholeNumber(values, key) ?? 0;
  }
  return { performance, efficiency };
}
