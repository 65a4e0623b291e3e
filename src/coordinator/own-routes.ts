import { z } from 'zod';
import type { Database } from '../database.js';
import { DarkbloomError } from '../errors.js';
import type { HttpApp } from '../http/app.js';
import type { Clock } from '../util/clock.js';
import type { Accounts } from './accounts.js';
import type { Fleet } from './fleet.js';
import { loggedIn } from './logins.js';
import { machineView } from './machine-view.js';
import type { Registry } from './registry.js';
import { BUCKET_MS, MAX_SERIES_ROWS, usageSeries } from './usage-series.js';

interface OwnDeps {
  database: Database;
  accounts: Accounts;
  registry: Registry;
  fleet: Fleet;
  clock: Clock;
}

const DAY_MS = 24 * 60 * 60_000;
const MAX_DAYS = 366;
const Days = z.coerce.number().int().min(1).max(MAX_DAYS).default(30);

/** Of this coordinator alone: what an account sees of its own machines and its own use. */
export function addOwnRoutes(app: HttpApp, { database, accounts, registry, fleet, clock }: OwnDeps): void {
  app.get('/v1/me/live', (context) => {
    const account = loggedIn(context, accounts);
    const sessions = fleet.sessions
      .filter(({ machine }) => machine.accountId === account.id)
      .sort((a, b) => a.connectedAt - b.connectedAt);
    const aliases = registry.aliases();
    return context.json({
      linked: accounts.hasMachine(account.id),
      machines: sessions.map((session) => machineView(session, aliases, clock.now())),
    });
  });
  app.get('/v1/me/usage', (context) => {
    const account = loggedIn(context, accounts);
    const days = Days.safeParse(context.req.query('days'));
    if (!days.success) {
      throw new DarkbloomError('invalid_request', `'days' must be from 1 to ${MAX_DAYS}.`, { param: 'days' });
    }
    const rows = usageSeries(database, account.id, clock.now() - days.data * DAY_MS);
    return context.json({
      bucket_minutes: BUCKET_MS / 60_000,
      complete: rows.length < MAX_SERIES_ROWS,
      rows: rows.map(({ at, cost_micro_usd: cost, ...row }) => ({
        at: new Date(at).toISOString(),
        ...row,
        cost_micro_usd: Number(cost),
      })),
    });
  });
}
