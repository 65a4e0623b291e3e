import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { credentialOf, type HttpApp, type HttpContext } from '../http/app.js';
import { MAX_SMALL_BODY_BYTES, readJson, readOptionalJson } from '../http/body.js';
import type { JsonObject } from '../inference/types.js';
import type { Account, Accounts } from './accounts.js';
import { formatUsd, microFromUsd } from './billing.js';
import { DEVICE_CODE_LIFE_S, type DeviceLogin } from './device-login.js';
import { authenticate } from './inference-door.js';
import { keyView, type ApiKey } from './keys.js';
import type { Ledger, UsageRow } from './ledger.js';

interface AccountDeps {
  accounts: Accounts;
  ledger: Ledger;
  deviceLogin: DeviceLogin;
}

const DEFAULT_USAGE_ROWS = 50;
const MAX_USAGE_ROWS = 1_000;
const POLL_PERIOD_S = 5;
/** One micro-USD: the books know nothing smaller. */
const MIN_CREDIT_USD = 0.000001;
/** More than anyone means in one credit; stops a mistyped amount. */
const MAX_CREDIT_USD = 1_000_000;

/** Keys, usage and balance, linking of machines, and the owner's administration. */
export function addAccountRoutes(app: HttpApp, deps: AccountDeps): void {
  addKeyRoutes(app, deps);
  addMoneyRoutes(app, deps);
  addDeviceRoutes(app, deps);
  addAdminRoutes(app, deps);
}

function addKeyRoutes(app: HttpApp, { accounts, ledger }: AccountDeps): void {
  const view = (key: ApiKey) => keyView(key, Number(ledger.spentWithKey(key.id)) / 1e6);
  app.get('/v1/keys', (context) => {
    const account = loggedIn(context, accounts);
    return context.json({ object: 'list', data: accounts.keys.list(account.id).map(view) });
  });
  app.post('/v1/keys', async (context) => {
    const account = loggedIn(context, accounts);
    const { secret, key } = accounts.keys.create(
      account.id,
      await readOptionalJson(context, MAX_SMALL_BODY_BYTES, 'bad_request'),
    );
    return context.json({ key: secret, data: view(key) });
  });
  app.get('/v1/keys/:id', (context) => {
    const account = loggedIn(context, accounts);
    const key = accounts.keys.find(account.id, context.req.param('id'));
    if (key === undefined) throw noSuchKey();
    return context.json(view(key));
  });
  app.patch('/v1/keys/:id', async (context) => {
    const account = loggedIn(context, accounts);
    const { disabled } = await adminBody(context, KeySwitch);
    const id = context.req.param('id');
    accounts.keys.setDisabled(account.id, id, disabled);
    const key = accounts.keys.find(account.id, id);
    if (key === undefined) throw noSuchKey();
    return context.json(view(key));
  });
  app.delete('/v1/keys/:id', (context) => {
    const account = loggedIn(context, accounts);
    if (!accounts.keys.revoke(account.id, context.req.param('id'))) throw noSuchKey();
    return context.json({ status: 'revoked' });
  });
}

function noSuchKey(): DarkbloomError {
  return new DarkbloomError('not_found', 'There is no key with this id in your account.');
}

/** Management needs a login: an API key that leaked must not be able to make more keys.
 *  @throws DarkbloomError `unauthorized`, `forbidden`. */
export function loggedIn(context: HttpContext, accounts: Accounts): Account {
  const caller = authenticate(context, accounts);
  if (caller.via === 'login') return caller.account;
  throw new DarkbloomError(
    'forbidden',
    'This needs a login token; an API key may not manage accounts, keys or machines.',
  );
}

function addMoneyRoutes(app: HttpApp, { accounts, ledger }: AccountDeps): void {
  app.get('/v1/payments/balance', (context) => {
    const { account } = authenticate(context, accounts);
    const { balance, withdrawable } = ledger.balance(account.id);
    return context.json({
      balance_micro_usd: Number(balance),
      balance_usd: formatUsd(balance),
      withdrawable_micro_usd: Number(withdrawable),
      withdrawable_usd: formatUsd(withdrawable),
    });
  });
  app.get('/v1/payments/usage', (context) => {
    const { account } = authenticate(context, accounts);
    const limit = z.coerce.number().int().min(1).max(MAX_USAGE_ROWS).default(DEFAULT_USAGE_ROWS);
    const asked = limit.safeParse(context.req.query('limit'));
    if (!asked.success) {
      throw new DarkbloomError('invalid_request', `'limit' must be from 1 to ${MAX_USAGE_ROWS}.`, { param: 'limit' });
    }
    return context.json({ usage: ledger.usage(account.id, asked.data).map(usageView) });
  });
}

function usageView(row: UsageRow): JsonObject {
  return {
    job_id: row.requestId,
    model: row.alias,
    prompt_tokens: row.promptTokens,
    completion_tokens: row.completionTokens,
    cost_micro_usd: Number(row.cost),
    timestamp: new Date(row.createdAt).toISOString(),
    route: row.routeMode,
    free_self_route: row.freeSelfRoute,
    provider_id: row.providerId,
  };
}

function addDeviceRoutes(app: HttpApp, { accounts, deviceLogin }: AccountDeps): void {
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

const NewAccount = z.strictObject({ name: z.string(), accept_unattested: z.boolean().default(false) });
const Consent = z.strictObject({ accept_unattested: z.boolean() });
const KeySwitch = z.strictObject({ disabled: z.boolean() });
const Credit = z.strictObject({ account: z.string(), amount_usd: z.number().min(MIN_CREDIT_USD).max(MAX_CREDIT_USD) });

function addAdminRoutes(app: HttpApp, { accounts, ledger }: AccountDeps): void {
  app.get('/v1/admin/accounts', (context) => {
    ownerOnly(context, accounts);
    const view = (account: Account) => ({
      ...accountView(account),
      balance_usd: formatUsd(ledger.balance(account.id).balance),
    });
    return context.json({ accounts: accounts.list().map(view) });
  });
  app.post('/v1/admin/accounts', async (context) => {
    ownerOnly(context, accounts);
    const { name, accept_unattested: acceptUnattested } = await adminBody(context, NewAccount);
    const account = accounts.add(name, { acceptUnattested });
    return context.json({ account: accountView(account), login_token: accounts.mintLoginToken(account.id) });
  });
  app.patch('/v1/admin/accounts/:name', async (context) => {
    ownerOnly(context, accounts);
    const account = accountNamed(context.req.param('name'), accounts);
    const { accept_unattested: acceptUnattested } = await adminBody(context, Consent);
    accounts.setAcceptUnattested(account.id, acceptUnattested);
    return context.json({ account: accountView({ ...account, acceptUnattested }) });
  });
  app.post('/v1/admin/credit', async (context) => {
    ownerOnly(context, accounts);
    const { account: name, amount_usd: usd } = await adminBody(context, Credit);
    const account = accountNamed(name, accounts);
    ledger.credit(account.id, microFromUsd(usd), 'admin');
    const { balance } = ledger.balance(account.id);
    return context.json({ account: account.name, balance_micro_usd: Number(balance), balance_usd: formatUsd(balance) });
  });
}

async function adminBody<T>(context: HttpContext, schema: z.ZodType<T>): Promise<T> {
  const parsed = schema.safeParse(await readJson(context, MAX_SMALL_BODY_BYTES, 'bad_request'));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.code === 'unrecognized_keys' ? issue.keys[0] : issue?.path[0]?.toString();
  throw new DarkbloomError('bad_request', `'${field ?? 'body'}': ${issue?.message ?? 'invalid'}.`, {
    ...(field === undefined ? {} : { param: field }),
  });
}

function ownerOnly(context: HttpContext, accounts: Accounts): void {
  if (!loggedIn(context, accounts).isOwner) {
    throw new DarkbloomError('forbidden', "This needs the token of the coordinator's owner.");
  }
}

function accountNamed(name: string, accounts: Accounts): Account {
  const account = accounts.find(name);
  if (account === undefined)
    throw new DarkbloomError('not_found', `There is no account '${name}'.`, { param: 'account' });
  return account;
}

function accountView({ id, name, isOwner, acceptUnattested }: Account): JsonObject {
  return { id, name, owner: isOwner, accept_unattested: acceptUnattested };
}
