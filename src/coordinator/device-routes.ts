import { DarkbloomError } from '../errors.js';
import { credentialOf, type HttpApp, type HttpContext } from '../http/app.js';
import { MAX_SMALL_BODY_BYTES, readJson } from '../http/body.js';
import type { Accounts } from './accounts.js';
import { DEVICE_CODE_LIFE_S, POLL_PERIOD_S, type DeviceLogin } from './device-login.js';
import { loggedIn } from './logins.js';

interface DeviceDeps {
  accounts: Accounts;
  deviceLogin: DeviceLogin;
}

/** The device login: a machine asks for a code and waits, a person with a login decides. */
export function addDeviceRoutes(app: HttpApp, { accounts, deviceLogin }: DeviceDeps): void {
  app.post('/v1/device/code', (context) => {
    refuseForeignPage(context);
    const { deviceCode, userCode } = deviceLogin.start();
    return context.json({
      device_code: deviceCode,
      user_code: userCode,
      verification_uri: new URL('/link', context.req.url).toString(),
      expires_in: DEVICE_CODE_LIFE_S,
      interval: POLL_PERIOD_S,
    });
  });
  app.post('/v1/device/token', async (context) => {
    const deviceCode = await stringField(context, 'device_code');
    const poll = deviceLogin.poll(deviceCode);
    if (poll.status === 'pending') return context.json({ status: 'authorization_pending' });
    return context.json({ status: 'authorized', token: poll.token, account_id: poll.accountId });
  });
  // Of this coordinator alone: a machine gives its own link back.
  app.post('/v1/device/revoke', (context) => {
    const token = credentialOf(context) ?? '';
    if (!accounts.revokeProviderToken(token)) {
      throw new DarkbloomError('unauthorized', 'This is no link token, or it was given back already.');
    }
    return context.json({ status: 'revoked' });
  });
  app.post('/v1/device/approve', async (context) => {
    const account = loggedIn(context, accounts);
    deviceLogin.approve(await stringField(context, 'user_code'), account.id);
    return context.json({ status: 'approved', message: 'The machine is linked. It connects within a few seconds.' });
  });
  // Of this coordinator alone: the machine that waits hears it at its next question.
  app.post('/v1/device/deny', async (context) => {
    const account = loggedIn(context, accounts);
    deviceLogin.deny(await stringField(context, 'user_code'), account.id);
    return context.json({ status: 'denied', message: 'The machine is not linked.' });
  });
}

/** A web page of another site may send simple requests here without being asked; a login is not for it to begin.
 *  @throws DarkbloomError `forbidden`. */
function refuseForeignPage(context: HttpContext): void {
  const origin = context.req.header('origin');
  if (origin === undefined || (URL.canParse(origin) && new URL(origin).host === context.req.header('host'))) return;
  throw new DarkbloomError('forbidden', 'Logins begin on the command line: darkbloom-provider link URL.');
}

/** A required string of a small body.
 *  @throws DarkbloomError `bad_device_request` naming the field. */
async function stringField(context: HttpContext, name: string): Promise<string> {
  const value = (await readJson(context, MAX_SMALL_BODY_BYTES, 'bad_device_request'))[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new DarkbloomError('bad_device_request', `'${name}' must be a string that is not empty.`, { param: name });
}
