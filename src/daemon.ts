import { randomBytes } from 'node:crypto';
import type { Environment, Home, Settings } from './config.js';
import { catalogModels, ownModels } from './coordinator/catalog-models.js';
import { openCoordinator, ownerKey } from './coordinator/host.js';
import { Identity } from './crypto/identity.js';
import { ModelPool } from './engine/pool.js';
import { DarkbloomError } from './errors.js';
import { createDirectApi } from './http/direct-api.js';
import { listen } from './http/server.js';
import { kvBytesPerToken } from './inference/footprint.js';
import { answerChallenge } from './link/challenges.js';
import { Jobs } from './link/jobs.js';
import { Link, type Connection } from './link/link.js';
import { declinePrefetch, obeyLoad } from './link/model-orders.js';
import { heartbeatFrame, registerFrame } from './link/reports.js';
import type { Log } from './log.js';
import { systemCommands } from './machine/commands.js';
import { readHardware } from './machine/hardware.js';
import { readMemory } from './machine/memory.js';
import { Metrics } from './machine/metrics.js';
import { readPosture } from './machine/posture.js';
import { readCatalog, type CatalogModel } from './models/catalog.js';
import { installedModels, type InstalledModel } from './models/store.js';
import type { AttestationChallenge, CoordinatorMessage } from './protocol/coordinator-messages.js';
import { refuseSecondDaemon, removeDiscovery, writeDiscovery, type DiscoveryRecord } from './service/discovery.js';
import { systemClock } from './util/clock.js';
import { keptSecret, makePrivateFolder, readFileIfPresent } from './util/files.js';
import { Lifetime } from './util/lifetime.js';
import { VERSION } from './util/version.js';

/** Running requests get so long to end before a stop cuts them off. */
const DRAIN_TIMEOUT_MS = 30_000;
/** Until the embedded coordinator has challenged the provider beside it. */
const ROUTABLE_TIMEOUT_MS = 15_000;

/** starting ──▶ serving ──▶ draining ──▶ stopped */
type DaemonState = 'starting' | 'serving' | 'draining' | 'stopped';

interface DaemonOptions {
  home: Home;
  settings: Settings;
  env: Environment;
  log: Log;
}

/** One provider process: builds its rooms once, drains, closes them in reverse. */
export class Daemon {
  readonly #life = new Lifetime();
  readonly #options: DaemonOptions;
  readonly #identity = new Identity();
  #state: DaemonState = 'starting';
  #jobs: Jobs | undefined;
  #link: Link | undefined;
  #record: DiscoveryRecord | undefined;
  #models: readonly InstalledModel[] = [];

  private constructor(options: DaemonOptions) {
    this.#options = options;
  }

  /** Starts everything and resolves when requests can be answered (local mode) or the link dials (linked mode).
   *  @throws DarkbloomError of the family `operator`: a port in use, a file that is no model, no login. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    try {
      await daemon.#start();
      return daemon;
    } catch (error) {
      await daemon.#life.close();
      throw error;
    }
  }

  /** Base URL and key for clients on this machine. */
  get record(): DiscoveryRecord {
    if (this.#record === undefined) throw new TypeError('The daemon has not started.');
    return this.#record;
  }

  get models(): readonly InstalledModel[] {
    return this.#models;
  }

  get requestsRunning(): number {
    return this.#jobs?.running ?? 0;
  }

  async #start(): Promise<void> {
    const { home, settings, env, log } = this.#options;
    makePrivateFolder(home.folder);
    refuseSecondDaemon(home.discovery);
    const { platform } = process;
    const catalog = readCatalog();
    const [models, hardware, posture, memory] = await Promise.all([
      installedModels(catalog, settings),
      readHardware(systemCommands, platform),
      readPosture(systemCommands, platform, env),
      readMemory(systemCommands, platform),
    ]);
    this.#models = models;

    const pool = new ModelPool(models, {
      rows: settings.engine.slots,
      contextTokens: settings.engine.context_tokens,
      threads: settings.engine.threads,
      environment: runnerEnvironment(env),
      memoryLimitBytes: memory.engineLimitBytes,
      clock: systemClock,
      log,
    });
    this.#life.own(() => pool.close());
    const refuse = () => this.#refuse();
    const jobs = new Jobs({ generator: pool, identity: this.#identity, refuse, clock: systemClock, log });
    this.#jobs = jobs;

    const door = settings.coordinator.url === undefined ? await this.#openLocal(catalog) : await this.#openDirect(pool);
    const metrics = new Metrics(systemCommands, platform);
    const shapes = new Map(models.map(({ id, shape }) => [id, shape]));
    const link = new Link({
      coordinatorUrl: door.coordinatorUrl,
      register: () =>
        registerFrame({
          hardware,
          models,
          capabilities: posture.capabilities,
          version: VERSION,
          publicKey: this.#identity.publicKey,
          linkToken: door.linkToken,
          serveOthers: settings.provider.serve_others,
        }),
      heartbeat: async () =>
        heartbeatFrame({
          slots: pool.snapshot(),
          kvBytesPerToken: (id) => {
            const shape = shapes.get(id);
            return shape === undefined ? 0 : kvBytesPerToken(shape);
          },
          metrics: await metrics.read(),
          memoryLimitBytes: memory.engineLimitBytes,
          stats: jobs.stats,
          closed: this.#state === 'draining',
        }),
      receive: (message, connection) => this.#receive(message, connection, pool, jobs),
      lost: () => jobs.abortAll(),
      clock: systemClock,
      random: Math.random,
      log,
    });
    this.#link = link;
    this.#life.own(() => link.close());
    this.#state = 'serving';
    link.start();
    await door.ready();
    this.#announce(door);
  }

  /** Frames that are not about one request are answered here; none of them blocks the next. */
  #receive(message: CoordinatorMessage, connection: Connection, pool: ModelPool, jobs: Jobs): void {
    const { log } = this.#options;
    switch (message.type) {
      case 'inference_request':
        jobs.start(message, connection);
        return;
      case 'cancel':
        jobs.cancel(message.request_id);
        return;
      case 'attestation_challenge':
        void this.#answerChallenge(message, connection);
        return;
      case 'load_model': {
        const load = (id: string) => pool.load(id);
        void obeyLoad(message.model_id, connection, { load, refuse: () => this.#refuse() });
        return;
      }
      case 'prefetch_model':
        void declinePrefetch(message.model_id, connection);
        return;
      case 'runtime_status':
        if (message.verified) log.info('the coordinator accepts this runtime');
        else log.warn({ mismatches: message.mismatches }, 'connected, not routable here');
        return;
      case 'trust_status': {
        const { trust_level: level, status, reason } = message;
        log.info({ level, status, reason }, 'trust of the coordinator');
        return;
      }
      case 'desired_models':
        return; // the owner chooses the models of this machine
      default:
        message satisfies never;
    }
  }

  /** With the posture of this moment, not of the start. */
  async #answerChallenge(challenge: AttestationChallenge, connection: Connection): Promise<void> {
    const { env, log } = this.#options;
    try {
      const posture = await readPosture(systemCommands, process.platform, env);
      const facts = { identity: this.#identity, posture, models: this.#models };
      await connection.send(answerChallenge(challenge, facts));
    } catch (error) {
      log.error({ err: error }, 'a challenge could not be answered');
    }
  }

  #refuse(): void {
    if (this.#state === 'serving') return;
    throw new DarkbloomError('draining', 'provider draining: it stops after the requests that run now', {
      retryAfterS: 3,
    });
  }

  /** Local mode: the coordinator lives in this process and is reached over a real socket all the same. */
  async #openLocal(catalog: readonly CatalogModel[]): Promise<Door> {
    const { home, settings, log } = this.#options;
    const now = systemClock.now();
    const coordinator = await openCoordinator({
      home,
      settings,
      port: settings.http.port,
      models: [...catalogModels(catalog, now), ...ownModels(this.#models, catalog, now)],
      log,
    });
    this.#life.own(() => coordinator.close());
    const { accounts, owner } = coordinator;
    const linkToken = keptSecret(
      home.selfLinkToken,
      (token) => accounts.accountOfProviderToken(token)?.id === owner.id,
      () => accounts.mintProviderToken(owner.id, 'this machine'),
    );
    return {
      mode: 'local',
      url: coordinator.url,
      port: coordinator.port,
      key: ownerKey(home, coordinator),
      coordinatorUrl: coordinator.url,
      linkToken,
      ready: () => coordinator.untilRoutable(this.#identity.publicKey, AbortSignal.timeout(ROUTABLE_TIMEOUT_MS)),
    };
  }

  /** Linked mode: the coordinator is elsewhere; the port carries the direct endpoint. */
  async #openDirect(pool: ModelPool): Promise<Door> {
    const { home, settings, log } = this.#options;
    const coordinatorUrl = settings.coordinator.url ?? '';
    const linkToken = readFileIfPresent(home.linkToken)?.trim();
    if (linkToken === undefined) {
      throw new DarkbloomError(
        'not_logged_in',
        `This machine is not linked to ${coordinatorUrl}. Run \`darkbloom-provider link ${coordinatorUrl}\`.`,
      );
    }
    const token = keptSecret(
      home.localToken,
      () => true,
      () => `dk-local-${randomBytes(32).toString('base64url')}`,
    );
    const http = await listen(
      createDirectApi({
        generator: pool,
        models: () => this.#models,
        token,
        refuse: () => this.#refuse(),
        version: VERSION,
        now: () => systemClock.now(),
        log,
      }),
      settings.http,
    );
    this.#life.own(() => http.close());
    return {
      mode: 'linked',
      url: http.url,
      port: http.port,
      key: token,
      coordinatorUrl,
      linkToken,
      ready: () => Promise.resolve(), // the other side may be away for hours; local requests are served meanwhile
    };
  }

  #announce(door: Door): void {
    const { home, settings } = this.#options;
    const record: DiscoveryRecord = {
      base_url: `${door.url}/v1`,
      api_key: door.key,
      host: settings.http.host,
      port: door.port,
      pid: process.pid,
      version: VERSION,
      mode: door.mode,
      updated_at: new Date(systemClock.now()).toISOString(),
    };
    writeDiscovery(home.discovery, record);
    this.#life.own(() => removeDiscovery(home.discovery));
    this.#record = record;
  }

  /** Takes nothing new and lets running requests end, for at most `DRAIN_TIMEOUT_MS` or until `force`. */
  async drain(force: AbortSignal): Promise<void> {
    if (this.#state !== 'serving') return;
    this.#state = 'draining';
    await this.#link?.report();
    const enough = AbortSignal.any([force, AbortSignal.timeout(DRAIN_TIMEOUT_MS)]);
    const cut = new Promise<void>((resolve) => enough.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([this.#jobs?.settled(), cut]);
  }

  async close(): Promise<void> {
    this.#state = 'stopped';
    await this.#life.close();
  }
}

/** How clients and the coordinator are reached in one mode. */
interface Door {
  mode: 'local' | 'linked';
  url: string;
  port: number;
  key: string;
  coordinatorUrl: string;
  linkToken: string;
  ready: () => Promise<void>;
}

/** All that a runner inherits. */
function runnerEnvironment(env: Environment): Record<string, string> {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LANG'];
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
