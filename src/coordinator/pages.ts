import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { DarkbloomError } from '../errors.js';
import { credentialOf, type HttpApp, type HttpContext } from '../http/app.js';
import { MAX_SMALL_BODY_BYTES, readJson } from '../http/body.js';
import { pageFile } from '../http/page-files.js';
import { isFromOwnPage, isLoopbackAddress, isLoopbackHost, isOwnHost } from '../http/page-guard.js';
import { snippetList } from '../util/snippets.js';
import { loggedIn } from './logins.js';
import type { Account, Accounts } from './accounts.js';
import { CODE_LIFE_MS, type PageSessions } from './page-sessions.js';
import { hashOf } from './secrets.js';

interface PageDeps {
  accounts: Accounts;
  sessions: PageSessions;
  /** Names of this machine, beside its addresses. */
  names: ReadonlySet<string>;
  /** The owner's API key for programs on this machine; `undefined` where none is kept. */
  readOwnerKey: () => string | undefined;
}

/** The console at `/`, the approval of machines at `/link`, and signing in to them (docs/pages.md). Before all other
 *  routes: a session that a page's cookie names counts on them like the login token it was opened with. */
export function addPages(app: HttpApp, deps: PageDeps): void {
  app.use((context, next) => {
    const loginHash = loginOfCookie(context, deps);
    if (loginHash !== undefined) {
      context.set('loginHash', loginHash);
      context.header('Cache-Control', 'no-store');
    }
    return next();
  });
  app.get('/', (context) => shown(context, deps, 'console.html'));
  app.get('/link', (context) => shown(context, deps, 'link.html'));
  addSessionRoutes(app, deps);
  addSnippetRoute(app, deps);
  app.get('/pages/:file{.+}', (context) => shown(context, deps, context.req.param('file')));
}

function shown(context: HttpContext, { names }: PageDeps, file: string): Promise<Response> {
  requireOwnHost(context, names);
  return pageFile(context, file);
}

/** A credential in a header says who asks; the cookie is not looked at then. */
function loginOfCookie(context: HttpContext, { sessions, names }: PageDeps): string | undefined {
  if (credentialOf(context) !== undefined) return undefined;
  const id = getCookie(context, cookieName(context));
  if (id === undefined || !isOwnHost(context.req.header('host'), names) || !fromOwnPage(context)) return undefined;
  return sessions.loginOf(id);
}

function addSessionRoutes(app: HttpApp, { accounts, sessions, names }: PageDeps): void {
  app.get('/pages/session', (context) => {
    requireOwnHost(context, names);
    const account = accountOf(context, accounts);
    context.header('Cache-Control', 'no-store');
    return context.json(
      account === undefined ? { signed_in: false } : { signed_in: true, account: account.name, owner: account.isOwner },
    );
  });
  app.post('/pages/session', async (context) => {
    requireOwnHost(context, names);
    requireOwnPage(context);
    const { code, token } = await readJson(context, MAX_SMALL_BODY_BYTES, 'bad_request');
    const loginHash = typeof code === 'string' ? loginOfCode(context, sessions, code) : loginOfToken(accounts, token);
    const account = accounts.accountOfLogin(loginHash);
    if (account === undefined) throw new DarkbloomError('unauthorized', 'This login was withdrawn meanwhile.');
    const before = getCookie(context, cookieName(context));
    if (before !== undefined) sessions.close(before);
    setCookie(context, cookieName(context), sessions.open(loginHash), {
      httpOnly: true,
      sameSite: 'Strict',
      path: '/',
    });
    context.header('Cache-Control', 'no-store');
    return context.json({ signed_in: true, account: account.name, owner: account.isOwner });
  });
  app.delete('/pages/session', (context) => {
    requireOwnHost(context, names);
    requireOwnPage(context);
    const id = getCookie(context, cookieName(context));
    if (id !== undefined) sessions.close(id);
    deleteCookie(context, cookieName(context), { path: '/' });
    return context.json({ signed_in: false });
  });
  app.post('/pages/codes', (context) => {
    const token = credentialOf(context);
    if (token === undefined) throw new DarkbloomError('unauthorized', 'A code is made with a login token.');
    loggedIn(context, accounts);
    requireLoopback(context);
    const { id, code } = sessions.mintCode(hashOf(token));
    context.header('Cache-Control', 'no-store');
    return context.json({ id, code, expires_in: CODE_LIFE_MS / 1_000 });
  });
  app.get('/pages/codes/:id', (context) => {
    loggedIn(context, accounts);
    return context.json({ open: sessions.isOpen(context.req.param('id')) });
  });
}

function accountOf(context: HttpContext, accounts: Accounts): Account | undefined {
  const loginHash = context.get('loginHash');
  return loginHash === undefined ? undefined : accounts.accountOfLogin(loginHash);
}

/** @throws DarkbloomError `forbidden`, `unauthorized`. */
function loginOfCode(context: HttpContext, sessions: PageSessions, code: string): string {
  requireLoopback(context);
  const loginHash = sessions.redeem(code);
  if (loginHash !== undefined) return loginHash;
  throw new DarkbloomError(
    'unauthorized',
    'This link was used already or is older than two minutes. Run `darkbloom-provider local --open` again.',
  );
}

/** @throws DarkbloomError `bad_request`, `unauthorized`, `forbidden`. */
function loginOfToken(accounts: Accounts, token: unknown): string {
  if (typeof token !== 'string' || token.trim() === '') {
    throw new DarkbloomError('bad_request', "'token' must be a login token.", { param: 'token' });
  }
  const caller = accounts.authenticate(token.trim());
  if (caller?.via === 'login') return hashOf(token.trim());
  if (caller === undefined) {
    throw new DarkbloomError(
      'unauthorized',
      "This is no login token of this coordinator. Its owner's is in the file owner-token of its home.",
    );
  }
  throw new DarkbloomError('forbidden', 'This key is for requests. Signing in takes a login token.');
}

/** What a program needs to send its first request, with the owner's own key. */
function addSnippetRoute(app: HttpApp, { accounts, names, readOwnerKey }: PageDeps): void {
  app.get('/pages/snippets', (context) => {
    requireOwnHost(context, names);
    const apiKey = loggedIn(context, accounts).isOwner ? readOwnerKey() : undefined;
    const baseUrl = `${new URL(context.req.url).origin}/v1`;
    const model = context.req.query('model') ?? 'MODEL';
    context.header('Cache-Control', 'no-store');
    return context.json({
      base_url: baseUrl,
      ...(apiKey === undefined ? {} : { api_key: apiKey }),
      snippets: snippetList({ baseUrl, apiKey: apiKey ?? 'YOUR_KEY', model }),
    });
  });
}

/** Cookies of all ports of a machine lie in one jar: the name tells whose it is. */
function cookieName(context: HttpContext): string {
  return `darkbloom_session_${new URL(context.req.url).port || 'default'}`;
}

function fromOwnPage(context: HttpContext): boolean {
  return isFromOwnPage({
    method: context.req.method,
    host: context.req.header('host'),
    origin: context.req.header('origin'),
    fetchSite: context.req.header('sec-fetch-site'),
  });
}

/** @throws DarkbloomError `forbidden`. */
function requireOwnPage(context: HttpContext): void {
  if (!fromOwnPage(context)) throw new DarkbloomError('forbidden', 'Only the pages of this coordinator may do this.');
}

/** @throws DarkbloomError `forbidden`. */
function requireOwnHost(context: HttpContext, names: ReadonlySet<string>): void {
  if (isOwnHost(context.req.header('host'), names)) return;
  throw new DarkbloomError(
    'forbidden',
    'The pages are not shown under this name. Open them by an address of this machine, such as http://127.0.0.1:PORT.',
  );
}

/** @throws DarkbloomError `forbidden`. */
function requireLoopback(context: HttpContext): void {
  const { incoming } = context.env;
  if (isLoopbackAddress(incoming.socket.remoteAddress) && isLoopbackHost(context.req.header('host'))) return;
  throw new DarkbloomError(
    'forbidden',
    'One-time codes work over 127.0.0.1 alone. Open the address of the coordinator and sign in with the login token.',
  );
}
