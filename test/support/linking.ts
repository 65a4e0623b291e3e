import { saveLinkToken } from '../../src/link/link-token.js';
import { z } from 'zod';
import type { Home } from '../../src/config.js';
import { writePrivateFile } from '../../src/util/files.js';

/** Links a home to a coordinator as `link` and `coordinator approve` do, without the waiting between them.
 *  `address` is what the machine will dial. */
export async function linkHome(
  home: Home,
  { coordinatorUrl, ownerToken, address }: { coordinatorUrl: string; ownerToken: string; address: string },
): Promise<void> {
  const Code = z.object({ device_code: z.string(), user_code: z.string() });
  const { device_code, user_code } = Code.parse(await post(`${coordinatorUrl}/v1/device/code`, {}));
  await post(`${coordinatorUrl}/v1/device/approve`, { user_code }, ownerToken);
  const { token } = z
    .object({ token: z.string() })
    .parse(await post(`${coordinatorUrl}/v1/device/token`, { device_code }));
  writeLink(home, address, token);
}

/** What `link` leaves in a home. */
export function writeLink(home: Home, address: string, token: string): void {
  saveLinkToken(home.linkToken, address, token);
  writePrivateFile(home.config, `[coordinator]\nurl = "${address}"\n`);
}

async function post(url: string, body: object, token?: string): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
  return response.json();
}
