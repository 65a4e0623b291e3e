import { DarkbloomError } from '../errors.js';
import type { HttpContext } from '../http/app.js';
import type { Account, Accounts } from './accounts.js';
import { authenticate } from './inference-door.js';

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

/** @throws DarkbloomError `unauthorized`, `forbidden`. */
export function ownerOnly(context: HttpContext, accounts: Accounts): void {
  if (!loggedIn(context, accounts).isOwner) {
    throw new DarkbloomError('forbidden', "This needs the token of the coordinator's owner.");
  }
}
