import { existsSync } from 'node:fs';
import type { Environment, Home, Settings } from './config.js';
import { openLocalDoor } from './coordinator/local-door.js';
import { Identity } from './crypto/identity.js';
import { poolOptionsOf } from './engine/pool-settings.js';
import { ModelPool } from './engine/pool.js';
import { DarkbloomError } from './errors.js';
import { openDirectDoor } from './http/direct-door.js';
import type { Door } from './http/door.js';
import { kvBytesPerToken } from './inference/footprint.js';
import { Desk } from './link/desk.js';
import { Downloads, type FetchModel } from './link/downloads.js';
import { Jobs } from './link/jobs.js';
import { readLinkToken } from './link/link-token.js';
import { Link } from './link/link.js';
import { heartbeatFrame, modelInfo, registerFrame } from './link/reports.js';
import { watchWakes } from './link/wake-watch.js';
import type { Log } from './log.js';
import { systemCommands } from './machine/commands.js';
import { readHardware } from './machine/hardware.js';
import { readMemory } from './machine/memory.js';
import { Metrics } from './machine/metrics.js';
import { readPosture } from './machine/posture.js';
import { readPower, readWakeTime } from './machine/power.js';
import { readCatalog } from './models/catalog.js';
import { fetchBuild } from './models/fetch-build.js';
import { installedModels, type InstalledModel } from './models/store.js';
import { openControl, type Control, type ControlAnswers } from './service/control.js';
import { countedGenerator, countedOperator } from './service/counted-engine.js';
import { KeepAwake, startHolder } from './service/keep-awake.js';
import { refuseSecondDaemon, removeDiscovery, writeDiscovery, type DiscoveryRecord } from './service/discovery.js';
import { nodePrivacy } from './service/node-privacy.js';
import { RecentErrors } from './service/recent-errors.js';
import { statusReport } from './service/status-report.js';
import type { Status } from './service/status.js';
import { UsageJournal } from './service/usage-journal.js';
import { systemClock } from './util/clock.js';
import { makePrivateFolder } from './util/files.js';
import { Lifetime } from './util/lifetime.js';
import { VERSION } from './util/version.js';

/** Running requests get so long to end before a stop cuts them off. */
const DRAIN_TIMEOUT_MS = 30_000;

/**
 *   starting ──▶ serving ──pause──▶ paused ──resume──▶ serving
 *                   └── drain ──▶ draining ──▶ stopped ◀──┘
 *
 * Paused keeps the connection and the loaded models; the wire is told `draining`.
 */
type DaemonState = Status['state'];

interface DaemonOptions {
  home: Home;
  settings: Settings;
  env: Environment;
  log: Log;
  /** Someone asked over the control socket that the daemon drains and stops. */
  stopAsked: () => void;
  /** The control socket where it is open already; it is the daemon's own once that has started. */
  control?: Control | undefined;
}

/** What exists once the daemon has started. */
interface Parts {
  pool: ModelPool;
  jobs: Jobs;
  desk: Desk;
  link: Link;
  door: Door;
  record: DiscoveryRecord;
  models: readonly InstalledModel[];
  errors: RecentErrors;
  journal: UsageJournal;
}

/** One provider process: builds its rooms once, drains, closes them in reverse. */
export class Daemon {
  readonly #life = new Lifetime();
  readonly #options: DaemonOptions;
  readonly #startedAt = systemClock.now();
  #state: DaemonState = 'starting';
  #parts: Parts | undefined;

  private constructor(options: DaemonOptions) {
    this.#options = options;
  }

  /** Starts everything and resolves when requests can be answered (local mode) or the link dials (linked mode).
   *  @throws DarkbloomError of the family `operator`: a port in use, a file that is no model, no login. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    try {
      daemon.#parts = await daemon.#build();
      return daemon;
    } catch (error) {
      await daemon.#life.close();
      throw error;
    }
  }

  get #built(): Parts {
    if (this.#parts === undefined) throw new TypeError('The daemon has not started.');
    return this.#parts;
  }

  /** Base URL and key for clients on this machine. */
  get record(): DiscoveryRecord {
    return this.#built.record;
  }

  get models(): readonly InstalledModel[] {
    return this.#built.models;
  }

  get requestsRunning(): number {
    return this.#built.pool.running;
  }

  async #build(): Promise<Parts> {
    const { home, settings, env, log } = this.#options;
    makePrivateFolder(home.folder);
    await refuseSecondDaemon(home.discovery);
    const { platform } = process;
    const catalog = readCatalog();
    const identity = new Identity();
    const posture = () => readPosture(systemCommands, platform, env);
    const [models, hardware, { capabilities }, memory] = await Promise.all([
      installedModels(catalog, settings, home.folder),
      readHardware(systemCommands, platform),
      posture(),
      readMemory(systemCommands, platform),
    ]);
    const journal = UsageJournal.open({
      path: home.usage,
      setAsidePath: home.usageSetAside,
      clock: systemClock,
      log,
    });
    this.#life.own(() => journal.close()); // after the pool: what it cuts off is counted
    const pool = new ModelPool(models, {
      ...poolOptionsOf(settings, memory, env),
      clock: systemClock,
      log,
    });
    this.#life.own(() => pool.close());
    pool.loadKept();
    const errors = new RecentErrors(systemClock);
    const aliasOf = (name: string) => pool.find(name)?.alias;
    const countedBy = { journal, errors, aliasOf };
    const generator = { ...countedGenerator(pool, countedBy), ...countedOperator(pool, countedBy) };
    const refuse = () => this.#refuse();
    const jobs = new Jobs({ generator, identity, refuse, clock: systemClock, log });
    const kvBytes = new Map(models.map(({ id, shape }) => [id, kvBytesPerToken(shape, settings.engine.kv_type)]));
    const fetch: FetchModel = async (id, told, signal) => {
      const onProgress = ({ doneBytes, totalBytes }: { doneBytes: number; totalBytes: number }) =>
        told(doneBytes, totalBytes);
      const limitBytes = pool.memoryLimitBytes;
      const from = { catalog, homeFolder: home.folder, settings, limitBytes };
      const model = await fetchBuild(id, { ...from, signal, onProgress });
      pool.add(model);
      models.push(model);
      kvBytes.set(id, kvBytesPerToken(model.shape, settings.engine.kv_type));
      return modelInfo(model);
    };
    const downloads = new Downloads({
      models,
      fetch: settings.models.follow_coordinator ? fetch : undefined,
      refuse,
      clock: systemClock,
      log,
    });
    this.#life.own(() => downloads.close());
    const isLoaded = (id: string) => pool.isLoaded(id);
    const load = (id: string) => pool.load(id);
    const desk = new Desk({ jobs, identity, models, posture, isLoaded, load, downloads, refuse, log });

    const { url: coordinatorUrl } = settings.coordinator;
    const door =
      coordinatorUrl === undefined
        ? await openLocalDoor({ home, settings, catalog, models, publicKey: identity.publicKey, log })
        : await openDirectDoor({
            home,
            settings,
            coordinatorUrl,
            linkToken: readLinkToken(home.linkToken, coordinatorUrl),
            generator,
            models: () => models,
            refuse,
            log,
          });
    this.#life.own(() => door.close());

    const metrics = new Metrics(systemCommands, platform);
    const link = new Link({
      coordinatorUrl: door.coordinatorUrl,
      register: () =>
        registerFrame({
          hardware,
          models,
          capabilities,
          version: VERSION,
          publicKey: identity.publicKey,
          linkToken: door.linkToken,
          serveOthers: settings.provider.serve_others,
        }),
      heartbeat: async () => {
        const [read, { availableBytes }] = await Promise.all([metrics.read(), readMemory(systemCommands, platform)]);
        return heartbeatFrame({
          slots: pool.snapshot(), // only now: reading the machine takes time, and requests end meanwhile
          kvBytesPerToken: (id) => kvBytes.get(id) ?? 0,
          metrics: read,
          memory: {
            limit: pool.memoryLimitBytes,
            used: pool.usedBytes,
            peak: pool.peakBytes,
            available: availableBytes,
          },
          stats: jobs.stats,
          closed: this.#state !== 'serving',
        });
      },
      receive: (message, connection) => desk.receive(message, connection),
      lost: () => desk.lost(),
      clock: systemClock,
      random: Math.random,
      log,
    });
    this.#life.own(() => link.close());
    const wakeTime = () => readWakeTime(systemCommands, platform);
    const wakes = watchWakes({ clock: systemClock, wakeTime, woke: () => link.woke() });
    this.#life.own(() => wakes[Symbol.dispose]());
    this.#state = 'serving';
    link.start();
    await door.ready();

    const awake = KeepAwake.start({
      mode: () => (this.#state === 'serving' ? settings.provider.keep_awake : 'never'),
      requestsRunning: () => pool.running,
      powerSource: async () => (await readPower(systemCommands, platform))?.source,
      start: startHolder,
      pid: process.pid,
      platform,
      clock: systemClock,
      log,
    });
    this.#life.own(() => awake.close());

    const record = this.#announce(door);
    const parts: Parts = { pool, jobs, desk, link, door, record, models, errors, journal };
    await this.#openControl({
      usage: () => ({ schema_version: 1, rows: [...journal.rows] }),
      privacy: () => nodePrivacy(settings, capabilities),
    });
    return parts;
  }

  async #openControl(serving: ControlAnswers['serving']): Promise<void> {
    const { home, stopAsked: stop, log } = this.#options;
    const answers: ControlAnswers = {
      status: () => this.status(),
      serving,
      pause: () => this.pause(),
      resume: () => this.resume(),
      stop,
    };
    this.#options.control?.answer(answers);
    const control = this.#options.control ?? (await openControl({ path: home.controlSocket, answers, log }));
    this.#life.own(() => control.close());
  }

  /** Only now, when the port is bound and requests are answered, may local programs find it. */
  #announce(door: Door): DiscoveryRecord {
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
    return record;
  }

  #refuse(): void {
    if (this.#state === 'serving') return;
    if (this.#state === 'paused') {
      throw new DarkbloomError(
        'paused',
        'provider paused by its owner: `darkbloom-provider resume` lets it serve again',
      );
    }
    const retryAfterS = 3;
    throw new DarkbloomError('draining', 'provider draining: it stops after the requests that run now', {
      retryAfterS,
    });
  }

  /** Refuses new requests, the owner's too; what runs goes on, the connection and the loaded models stay. */
  async pause(): Promise<void> {
    if (this.#state !== 'serving') return;
    this.#state = 'paused';
    void this.#built.link.report(); // a peer that does not read must not hold it up
  }

  async resume(): Promise<void> {
    if (this.#state !== 'paused') return;
    this.#state = 'serving';
    void this.#built.link.report();
  }

  /** Takes nothing new and lets running requests end, for at most `DRAIN_TIMEOUT_MS` or until `force`. */
  async drain(force: AbortSignal): Promise<void> {
    if (this.#state !== 'serving' && this.#state !== 'paused') return;
    this.#state = 'draining';
    const { link, pool, jobs } = this.#built;
    void link.report(); // a peer that does not read must not hold up the stop
    const enough = AbortSignal.any([force, AbortSignal.timeout(DRAIN_TIMEOUT_MS)]);
    const cut = new Promise<void>((resolve) => enough.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([Promise.all([pool.idle(), jobs.settled()]), cut]);
  }

  async close(): Promise<void> {
    this.#state = 'stopped';
    await this.#life.close();
  }

  /** All that can be said of this moment. */
  status(): Status {
    const { pool, desk, link, door, models, errors, journal } = this.#built;
    return statusReport({
      state: this.#state,
      startedAt: this.#startedAt,
      home: this.#options.home.folder,
      door,
      link,
      view: desk.view,
      slots: pool.snapshot(),
      models: models.map(({ id, alias, path }) => ({ id, alias, missingFile: existsSync(path) ? undefined : path })),
      memory: { limitBytes: pool.memoryLimitBytes, usedBytes: pool.usedBytes },
      served: journal.served,
      tokensPerSecond: pool.tokensPerSecond,
      errors: [...errors.list],
    });
  }
}
