import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { z } from 'zod';
import { environment, findHome, refuseIfSetByVariable } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { saveLinkToken } from '../../link/link-token.js';
import { answeringDaemon } from '../../service/discovery.js';
import { coordinatorAddress } from '../../util/coordinator-address.js';
import { makePrivateFolder } from '../../util/files.js';
import { tomlString } from '../../util/toml-edit.js';
import { callCoordinator } from '../coordinator-client.js';
import { changedSettings, changeSetting, COORDINATOR_URL } from '../settings-file.js';
import { print, printDone, style } from '../style.js';

export function linkCommand(): Command {
  return new Command('link')
    .description('serve a coordinator elsewhere: another Mac of yours, or a hosted one')
    .argument('<url>', 'address of the coordinator, for example http://studio.local:8787')
    .addHelpText(
      'after',
      `
Shows a code and waits until the owner of the coordinator has approved it there, with
  $ darkbloom-provider coordinator approve CODE
Afterwards \`darkbloom-provider start\` serves that coordinator. \`darkbloom-provider unlink\` gives the link back.

Examples:
  $ darkbloom-provider link http://studio.local:8787`,
    )
    .action(link);
}

const CodeAnswer = z.object({
  device_code: z.string(),
  user_code: z.string(),
  expires_in: z.number().positive(),
  interval: z.number().positive().max(60),
});
const TokenAnswer = z.discriminatedUnion('status', [
  z.object({ status: z.literal('authorization_pending') }),
  z.object({ status: z.literal('authorized'), token: z.string().min(1), account_id: z.string() }),
]);

async function link(address: string): Promise<void> {
  const home = findHome(environment);
  const url = coordinatorAddress(address);
  if (url === undefined) {
    throw new DarkbloomError(
      'usage',
      `That is not an address like http://studio.local:8787 (http or https, no login, query or fragment).`,
    );
  }
  refuseIfSetByVariable(environment, 'coordinator.url');
  makePrivateFolder(home.folder);
  changedSettings(home, COORDINATOR_URL, tomlString(url)); // a file that cannot be changed is told before the login

  const code = parse(
    CodeAnswer,
    await callCoordinator(url, { method: 'POST', path: '/v1/device/code', body: {} }),
    url,
  );
  print(`Code: ${style.bold(code.user_code)}`);
  print(`Approve it on the coordinator's machine:  darkbloom-provider coordinator approve ${code.user_code}`);
  print(`Waiting; the code is good for ${Math.round(code.expires_in / 60)} minutes.`);
  const token = await waitForToken(url, code);

  saveLinkToken(home.linkToken, url, token);
  changeSetting(home, COORDINATOR_URL, tomlString(url));
  printDone(`Linked to ${url}.`);
  const running = await answeringDaemon(home.discovery);
  print(
    running === undefined
      ? 'Now run: darkbloom-provider start'
      : 'The running daemon uses it after: darkbloom-provider restart (in a terminal Ctrl-C, and start again)',
  );
}

/** @throws DarkbloomError of the coordinator, `expired_code` when it was away until the code was not good any more. */
async function waitForToken(url: string, code: z.infer<typeof CodeAnswer>): Promise<string> {
  const body = { device_code: code.device_code };
  const end = Date.now() + code.expires_in * 1_000;
  while (Date.now() < end) {
    await sleep(code.interval * 1_000);
    const answer = await pollOnce(url, body);
    if (answer?.status === 'authorized') return answer.token;
  }
  throw new DarkbloomError(
    'expired_code',
    `Nobody approved the code in time. Nothing was changed; for a new one: darkbloom-provider link ${url}`,
  );
}

/** `undefined` when the coordinator could not be asked this time: the next poll may work.
 *  @throws DarkbloomError of the coordinator when the code is no longer good. */
async function pollOnce(url: string, body: { device_code: string }): Promise<z.infer<typeof TokenAnswer> | undefined> {
  try {
    return parse(TokenAnswer, await callCoordinator(url, { method: 'POST', path: '/v1/device/token', body }), url);
  } catch (error) {
    if (!(error instanceof DarkbloomError) || (error.code !== 'link_lost' && error.status < 429)) throw error;
    return undefined;
  }
}

function parse<T>(schema: z.ZodType<T>, answer: unknown, url: string): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new DarkbloomError('link_refused', `${url} does not answer like a coordinator. Check the address.`);
}
