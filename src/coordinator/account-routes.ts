import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import type { HttpApp, HttpContext } from '../http/app.js';
import { MAX_SMALL_BODY_BYTES, readJson } from '../http/body.js';
import type { JsonObject } from '../inference/types.js';
import { parseBody } from '../inference/validation.js';
import type { Account, Accounts } from './accounts.js';
import { formatUsd, microFromUsd } from './billing.js';
import type { Ledger } from './ledger.js';
import { ownerOnly } from './logins.js';

interface AccountDeps {
  accounts: Accounts;
  ledger: Ledger;
}

/** One micro-USD: the books know nothing smaller. */
const MIN_CREDIT_USD = 0.000001;
/** More than anyone means in one credit; stops a mistyped amount. */
const MAX_CREDIT_USD = 1_000_000;

const NewAccount = z.strictObject({ name: z.string(), accept_unattested: z.boolean().default(false) });
const Consent = z.strictObject({ accept_unattested: z.boolean() });
const Credit = z.strictObject({ account: z.string(), amount_usd: z.number().min(MIN_CREDIT_USD).max(MAX_CREDIT_USD) });

/** The owner's administration of accounts. */
export function addAccountRoutes(app: HttpApp, { accounts, ledger }: AccountDeps): void {
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
  app.post('/v1/admin/accounts/:name/login', (context) => {
    ownerOnly(context, accounts);
    const account = accountNamed(context.req.param('name'), accounts);
    if (account.isOwner) {
      throw new DarkbloomError(
        'bad_request',
        "The owner's token lies in the home of the coordinator: remove it there.",
      );
    }
    return context.json({ account: accountView(account), login_token: accounts.renewLoginToken(account.id) });
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
  return parseBody(schema, await readJson(context, MAX_SMALL_BODY_BYTES, 'bad_request'), 'bad_request');
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
