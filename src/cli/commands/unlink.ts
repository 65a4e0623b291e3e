import { rmSync } from 'node:fs';
import { Command } from 'commander';
import { environment, findHome, loadSettings, refuseIfSetByVariable } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { readLinkToken } from '../../link/link-token.js';
import { answeringDaemon } from '../../service/discovery.js';
import { callCoordinator } from '../coordinator-client.js';
import { changedSettings, changeSetting, COORDINATOR_URL } from '../settings-file.js';
import { print, printDone } from '../style.js';

export function unlinkCommand(): Command {
  return new Command('unlink')
    .description('give the link back: this machine is its own coordinator again')
    .addHelpText(
      'after',
      `
The link token is revoked at the coordinator where that works, and deleted here in any case.

Examples:
  $ darkbloom-provider unlink`,
    )
    .action(unlink);
}

async function unlink(): Promise<void> {
  const home = findHome(environment);
  const { url } = loadSettings(home, environment, {}).coordinator;
  refuseIfSetByVariable(environment, 'coordinator.url');
  if (url === undefined) throw new DarkbloomError('usage', 'This machine is not linked to any coordinator.');
  changedSettings(home, COORDINATOR_URL, undefined); // a file that cannot be changed is told before the link is gone
  const token = readLinkToken(home.linkToken, url);
  const revoked = token !== undefined && (await revoke(url, token));
  rmSync(home.linkToken, { force: true });
  changeSetting(home, COORDINATOR_URL, undefined);
  printDone(`Unlinked from ${url}.`);
  if (!revoked) print(`${url} did not take the token back: ask its owner to unlink this machine there.`);
  if ((await answeringDaemon(home.discovery)) !== undefined)
    print(
      'The running daemon keeps its connection until: darkbloom-provider restart (in a terminal Ctrl-C, and start again)',
    );
}

/** False when the coordinator is away or has no such route: the link ends here all the same. */
async function revoke(url: string, token: string): Promise<boolean> {
  try {
    await callCoordinator(url, { method: 'POST', path: '/v1/device/revoke', token, body: {} });
    return true;
  } catch (error) {
    if (error instanceof DarkbloomError) return false;
    throw error;
  }
}
