import { environment, findHome, type Home } from '../config.js';
import { DarkbloomError } from '../errors.js';
import type { JsonObject } from '../inference/types.js';
import { answeringDaemon } from '../service/discovery.js';
import { readFileIfPresent } from '../util/files.js';
import { callCoordinator, type Method } from './coordinator-client.js';

/** Calls the coordinator that runs in this home, with its owner's token from the 0600 file. */
export async function asOwner(route: { method: Method; path: string; body?: JsonObject }): Promise<JsonObject> {
  const home = findHome(environment);
  return callCoordinator(await runningCoordinator(home), { ...route, token: ownerToken(home) });
}

async function runningCoordinator(home: Home): Promise<string> {
  const record = await answeringDaemon(home.discovery);
  if (record === undefined || record.mode === 'linked') {
    throw new DarkbloomError(
      'machine_offline',
      'No coordinator runs in this home. Start one with `darkbloom-provider coordinator`, or `darkbloom-provider start`.',
    );
  }
  return record.base_url.replace(/\/v1$/u, '');
}

function ownerToken(home: Home): string {
  const token = readFileIfPresent(home.ownerToken)?.trim();
  if (token === undefined)
    throw new DarkbloomError(
      'not_logged_in',
      `${home.ownerToken} is missing. Restart the coordinator: it is made anew.`,
    );
  return token;
}
