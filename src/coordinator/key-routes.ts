import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import type { HttpApp } from '../http/app.js';
import { MAX_SMALL_BODY_BYTES, readJson, readOptionalJson } from '../http/body.js';
import { parseBody } from '../inference/validation.js';
import type { Clock } from '../util/clock.js';
import type { Accounts } from './accounts.js';
import { authenticate } from './inference-door.js';
import { keyView, type ApiKey } from './keys.js';
import type { Ledger } from './ledger.js';
import { loggedIn } from './logins.js';
import { windowStart } from './spending-window.js';

interface KeyDeps {
  accounts: Accounts;
  ledger: Ledger;
  clock: Clock;
}

const Secret = z.strictObject({ key: z.string().min(1) });

/** API keys: each account's own, for whoever has logged in. A secret is in the answer that makes it and in no other. */
export function addKeyRoutes(app: HttpApp, { accounts, ledger, clock }: KeyDeps): void {
  const { keys } = accounts;
  const view = (key: ApiKey) => keyView(key, ledger.spentWithKey(key.id, windowStart(key.limitWindow, clock.now())));

  app.get('/v1/keys', (context) => {
    const account = loggedIn(context, accounts);
    return context.json({ object: 'list', data: keys.list(account.id).map(view) });
  });
  app.post('/v1/keys', async (context) => {
    const account = loggedIn(context, accounts);
    const body = await readOptionalJson(context, MAX_SMALL_BODY_BYTES, 'bad_request');
    const { secret, key } = keys.create(account.id, body);
    return context.json({ key: secret, data: view(key) });
  });
  app.get('/v1/keys/:id', (context) => {
    const account = loggedIn(context, accounts);
    return context.json(view(known(keys.find(account.id, context.req.param('id')))));
  });
  app.patch('/v1/keys/:id', async (context) => {
    const account = loggedIn(context, accounts);
    const body = await readJson(context, MAX_SMALL_BODY_BYTES, 'bad_request');
    return context.json(view(known(keys.change(account.id, context.req.param('id'), body))));
  });
  app.delete('/v1/keys/:id', (context) => {
    const account = loggedIn(context, accounts);
    if (!keys.revoke(account.id, context.req.param('id'))) throw noSuchKey();
    return context.json({ status: 'revoked' });
  });
  app.post('/v1/keys/:id/rotate', (context) => {
    const account = loggedIn(context, accounts);
    const { secret, key } = known(keys.rotate(account.id, context.req.param('id')));
    return context.json({ key: secret, data: view(key) });
  });

  // A key may look at itself and at nothing else.
  app.get('/v1/key', (context) => {
    const caller = authenticate(context, accounts);
    if (caller.via === 'key') return context.json(view(caller.key));
    throw new DarkbloomError('not_found', 'This was not asked with an API key. GET /v1/keys lists those of a login.');
  });

  // The older pair of calls.
  app.post('/v1/auth/keys', (context) => {
    const account = loggedIn(context, accounts);
    return context.json({ api_key: keys.create(account.id, undefined).secret, account_id: account.id });
  });
  app.delete('/v1/auth/keys', async (context) => {
    const account = loggedIn(context, accounts);
    const { key } = parseBody(Secret, await readJson(context, MAX_SMALL_BODY_BYTES, 'bad_request'), 'bad_request');
    if (!keys.revokeSecret(account.id, key)) throw new DarkbloomError('not_found', 'This is no key of your account.');
    return context.json({ status: 'revoked' });
  });
}

/** @throws DarkbloomError `not_found`, also for a key of another account. */
function known<T>(found: T | undefined): T {
  if (found === undefined) throw noSuchKey();
  return found;
}

function noSuchKey(): DarkbloomError {
  return new DarkbloomError('not_found', 'There is no key with this id in your account.');
}
