import { Database } from '../database.js';
import { createApp } from '../http/app.js';
import { ownNames } from '../http/page-guard.js';
import { listen, type HttpServer } from '../http/server.js';
import type { TlsFiles } from '../http/tls.js';
import { anthropicMessages } from '../inference/anthropic.js';
import { openAiChat, openAiCompletions, openAiResponses } from '../inference/openai.js';
import { countTokens, embeddings } from '../inference/operation-dialects.js';
import type { Log } from '../log.js';
import type { Clock } from '../util/clock.js';
import { addAccountRoutes } from './account-routes.js';
import { Accounts, type Account } from './accounts.js';
import { addCapacityRoute } from './capacity-route.js';
import type { KnownModel } from './catalog-models.js';
import { DeviceLogin } from './device-login.js';
import { addDeviceRoutes } from './device-routes.js';
import { Fleet } from './fleet.js';
import { Gate } from './gate.js';
import { History } from './history.js';
import { identify, type IdentityProvider } from './identity-provider.js';
import { infer, type DoorDeps } from './inference-door.js';
import { addKeyRoutes } from './key-routes.js';
import { Ledger } from './ledger.js';
import { addMachineRoutes } from './machine-routes.js';
import { MIGRATIONS } from './migrations.js';
import { addModelRoutes } from './model-routes.js';
import { Metrics } from './metrics.js';
import { addMoneyRoutes } from './money-routes.js';
import { addOperationsRoutes } from './operations-routes.js';
import { addOwnRoutes } from './own-routes.js';
import { PageSessions } from './page-sessions.js';
import { addPages } from './pages.js';
import { ProviderSocket } from './provider-socket.js';
import { StatsReader } from './public-stats.js';
import { RateLimits, type Rates } from './rate-limits.js';
import { addRegistryRoutes } from './registry-routes.js';
import { Registry } from './registry.js';

/** What `/metrics` counts as answers to inference requests. */
const INFERENCE_PATHS = ['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/messages'];

export interface CoordinatorOptions {
  /** The SQLite file. */
  database: string;
  host: string;
  port: number;
  selfRouteDefault: 'self' | 'none';
  /** The platform's part of paid requests, in whole percent; absent: none. */
  feePercent?: number;
  /** Of every account; absent: none. */
  accountRates?: Rates;
  /** For TLS; absent: none. */
  tls?: TlsFiles;
  version: string;
  /** Models that this coordinator knows from the start. */
  models: readonly KnownModel[];
  /** Signs people in beside the owner's and the accounts' own tokens; absent: nobody does. */
  identity?: IdentityProvider | undefined;
  /** The owner's API key that programs on this machine use; `undefined` where none is kept. */
  readOwnerKey: () => string | undefined;
  clock: Clock;
  log: Log;
}

/** The embedded coordinator: one SQLite file, one HTTP port for consumers and providers. */
export class Coordinator {
  readonly accounts: Accounts;
  readonly ledger: Ledger;
  readonly fleet: Fleet;
  readonly owner: Account;
  readonly #database: Database;
  readonly #http: HttpServer;
  readonly #providers: ProviderSocket;
  readonly #gate: Gate;

  private constructor(parts: {
    accounts: Accounts;
    ledger: Ledger;
    fleet: Fleet;
    owner: Account;
    database: Database;
    http: HttpServer;
    providers: ProviderSocket;
    gate: Gate;
  }) {
    this.accounts = parts.accounts;
    this.ledger = parts.ledger;
    this.fleet = parts.fleet;
    this.owner = parts.owner;
    this.#database = parts.database;
    this.#http = parts.http;
    this.#providers = parts.providers;
    this.#gate = parts.gate;
  }

  /** Opens the books, gives back what a crash left on hold, and listens.
   *  @throws DarkbloomError `port_in_use`, `config_invalid`. */
  static async start(options: CoordinatorOptions): Promise<Coordinator> {
    const { clock, log, version, selfRouteDefault } = options;
    const database = new Database(options.database, MIGRATIONS);
    try {
      const accounts = new Accounts(database, clock);
      const owner = accounts.ensureOwner();
      const ledger = new Ledger(database, clock);
      const registry = new Registry(database);
      const fleet = new Fleet(clock);
      const gate = new Gate();
      const { feePercent = 0, accountRates: account = {} } = options;
      const rates = new RateLimits({ account, clock });
      const metrics = new Metrics({
        requestsRunning: () => gate.inside,
        providersConnected: () => fleet.sessions.length,
      });
      const money = { ledger, rates, feePercent, metrics };
      const deps: DoorDeps = { ...money, gate, accounts, registry, fleet, selfRouteDefault, clock, log };
      const app = createApp(log);
      if (options.identity !== undefined) identify(app, options.identity, accounts);
      const names = ownNames(options.host);
      addPages(app, { accounts, sessions: new PageSessions(clock), names, readOwnerKey: options.readOwnerKey });
      app.get('/health', (context) => {
        const draining = gate.closed ? { draining: true } : {};
        return context.json({ status: 'ok', ...draining, providers: fleet.machines.length, version });
      });
      app.get('/readyz', (context) => {
        const { closed: draining, inside: inflight } = gate;
        return context.json({ draining, inflight, ready: !draining }, draining ? 503 : 200);
      });
      app.on('POST', INFERENCE_PATHS, async (context, next) => {
        await next();
        metrics.responded(context.res.status);
      });
      app.post('/v1/chat/completions', (context) => infer(context, openAiChat, deps));
      app.post('/v1/completions', (context) => infer(context, openAiCompletions, deps));
      app.post('/v1/responses', (context) => infer(context, openAiResponses, deps));
      app.post('/v1/messages', (context) => infer(context, anthropicMessages, deps));
      app.post('/v1/messages/count_tokens', (context) => infer(context, countTokens, deps));
      app.post('/v1/embeddings', (context) => infer(context, embeddings, deps));
      addCapacityRoute(app, deps); // before the routes that take any model's name
      addModelRoutes(app, deps);
      addRegistryRoutes(app, deps);
      addAccountRoutes(app, { accounts, ledger });
      addOperationsRoutes(app, { accounts, fleet, metrics, stats: new StatsReader(database, clock), clock });
      addMoneyRoutes(app, { accounts, ledger, history: new History(database) });
      addKeyRoutes(app, { accounts, ledger, clock });
      addDeviceRoutes(app, { accounts, deviceLogin: new DeviceLogin(database, clock, accounts) });
      addMachineRoutes(app, deps);
      addOwnRoutes(app, { database, ...deps });
      const http = await listen(app, options);
      // Only now: whoever holds the port is the one that keeps these books.
      const orphans = ledger.refundOrphans();
      if (orphans > 0) log.warn({ orphans }, 'holds of a run that ended early were given back');
      registry.seed(options.models);
      const providers = new ProviderSocket(http.server, { accounts, registry, fleet, clock, log });
      return new Coordinator({ accounts, ledger, fleet, owner, database, http, providers, gate });
    } catch (error) {
      database.close();
      throw error;
    }
  }

  get url(): string {
    return this.#http.url;
  }

  get port(): number {
    return this.#http.port;
  }

  /** Resolves once the machine with this public key has passed its first challenge and can be routed to. */
  async untilRoutable(publicKey: string, signal: AbortSignal): Promise<void> {
    const ready = () =>
      this.fleet.sessions.some(
        ({ register, machine }) => register.public_key === publicKey && machine.challengedAt !== undefined,
      );
    await this.fleet.until(ready, signal);
  }

  get requestsRunning(): number {
    return this.#gate.inside;
  }

  /** Takes no new request and resolves when the running ones have ended. */
  drain(): Promise<void> {
    this.#gate.close();
    return this.#gate.idle();
  }

  /** Cuts what still runs, settles it, and closes the books. */
  async close(): Promise<void> {
    this.#gate.close();
    await this.#providers.close();
    await this.#http.close();
    await this.#gate.idle();
    this.#database.close();
  }
}
