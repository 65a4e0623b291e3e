import { getConnInfo } from '@hono/node-server/conninfo';
import { DarkbloomError } from '../errors.js';
import { credentialOf, type HttpApp, type HttpContext } from '../http/app.js';
import type { JsonObject } from '../inference/types.js';
import type { Clock } from '../util/clock.js';
import { isLoopback } from '../util/loopback.js';
import type { Accounts } from './accounts.js';
import { readableFromAnySite } from './any-site.js';
import type { Fleet } from './fleet.js';
import { authenticate, noSealedRequests } from './inference-door.js';
import type { Metrics } from './metrics.js';
import type { PublicStats, StatsReader } from './public-stats.js';

/** Statistics are public: asking often must cost nothing. */
const STATS_CACHE_MS = 15_000;

interface OperationsDeps {
  accounts: Accounts;
  fleet: Fleet;
  metrics: Metrics;
  stats: StatsReader;
  clock: Clock;
}

/** Figures of the running coordinator: `/metrics` for its operator, `/v1/stats` for everyone. */
export function addOperationsRoutes(app: HttpApp, deps: OperationsDeps): void {
  const { metrics, stats, clock } = deps;
  app.get('/metrics', async (context) => {
    refuseStranger(context, deps.accounts);
    context.header('Content-Type', metrics.contentType);
    return context.body(await metrics.text());
  });

  app.get('/v1/encryption-key', () => {
    throw noSealedRequests();
  });

  let cached: { at: number; view: JsonObject } | undefined;
  readableFromAnySite(app, '/v1/stats');
  app.get('/v1/stats', (context) => {
    const now = clock.now();
    if (cached === undefined || now - cached.at >= STATS_CACHE_MS || now < cached.at) {
      cached = { at: now, view: statsView(stats.read(), deps.fleet) };
    }
    return context.json(cached.view);
  });
}

/** Programs on this machine, and the owner from anywhere. A page that a browser here took from elsewhere names another
 *  host.
 *  @throws DarkbloomError `unauthorized`, `forbidden`. */
function refuseStranger(context: HttpContext, accounts: Accounts): void {
  if (credentialOf(context) === undefined) {
    const { hostname } = new URL(context.req.url);
    if (isLoopback(getConnInfo(context).remote.address ?? '') && isLoopback(hostname)) return;
  }
  const caller = authenticate(context, accounts);
  if (caller.via === 'login' && caller.account.isOwner) return;
  throw new DarkbloomError('forbidden', "Metrics are for programs on this machine, and for the owner's login token.");
}

/** Machines that serve their owner alone are nobody else's business. */
function statsView({ total, models, series }: PublicStats, fleet: Fleet): JsonObject {
  const open = fleet.sessions.filter(({ machine }) => !machine.privateOnly && machine.accountId !== undefined);
  return {
    total_requests: total.requests,
    total_prompt_tokens: total.promptTokens,
    total_completion_tokens: total.completionTokens,
    total_tokens: total.promptTokens + total.completionTokens,
    active_providers: open.length,
    providers: open.map(({ id, register: { hardware }, machine, running }) => ({
      id,
      chip: hardware.chip_name,
      machine_model: hardware.machine_model,
      memory_gb: hardware.memory_gb,
      models: [...machine.models.keys()],
      active_requests: running,
    })),
    models: [...models].map(([model, { requests, promptTokens, completionTokens }]) => ({
      model,
      requests,
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
    })),
    time_series: [...series].map(([minute, { requests, promptTokens, completionTokens }]) => ({
      timestamp: new Date(minute).toISOString(),
      requests,
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
    })),
    geography: [],
  };
}
