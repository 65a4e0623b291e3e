import type { ThermalState } from '../protocol/provider-messages.js';
import type { Commands } from './commands.js';

const NOTIFYUTIL = '/usr/bin/notifyutil';
const THERMAL_KEY = 'com.apple.system.thermalpressurelevel';

/** By pressure level: nominal, moderate, heavy, trapping, sleeping. Clock speed drops from heavy on, so heavy is
 *  already serious here, where the system's own coarser scale still says fair. */
const STATES: readonly ThermalState[] = ['nominal', 'fair', 'serious', 'critical', 'critical'];

/** `undefined`: not a Mac, or the tool did not answer. */
export async function readThermalState(
  commands: Commands,
  platform: NodeJS.Platform,
): Promise<ThermalState | undefined> {
  if (platform !== 'darwin') return undefined;
  const { code, stdout } = await commands.run(NOTIFYUTIL, ['-g', THERMAL_KEY]);
  return code === 0 ? thermalStateOf(stdout) : undefined;
}

/** Reads `key level`. A failure of the tool stands on the same stream with exit status 0: only a whole line counts. */
export function thermalStateOf(output: string): ThermalState | undefined {
  const [key, level, ...rest] = output.trim().split(' ');
  if (key !== THERMAL_KEY || level === undefined || !/^\d+$/.test(level) || rest.length > 0) return undefined;
  return STATES[Number(level)];
}
