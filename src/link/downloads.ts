import { toFailure } from '../errors.js';
import type { Log } from '../log.js';
import type { CoordinatorMessage } from '../protocol/coordinator-messages.js';
import type { ModelInfo, ProviderMessage } from '../protocol/provider-messages.js';
import type { Clock } from '../util/clock.js';
import type { Connection } from './link.js';

type DesiredModels = Extract<CoordinatorMessage, { type: 'desired_models' }>['models'];
type Status = Omit<Extract<ProviderMessage, { type: 'prefetch_model_status' }>, 'type' | 'model_id'>;

/** Brings a build to this machine and into use. `told` hears the bytes.
 *  @throws DarkbloomError when it is not for this machine or cannot be had. */
export type FetchModel = (
  build: string,
  told: (done: number, total: number) => void,
  signal: AbortSignal,
) => Promise<ModelInfo>;

interface DownloadsOptions {
  /** What is on this machine now. */
  models: readonly { id: string; alias: string }[];
  /** Absent: the owner alone chooses the models of this machine. */
  fetch: FetchModel | undefined;
  /** Throws what refuses new work now. */
  refuse: () => void;
  clock: Clock;
  log: Log;
}

/** Builds that wait while another one is fetched. */
export const MAX_WAITING_DOWNLOADS = 8;
/** How far a download is, is told after so long or so much (docs/protocol.md, `prefetch_model_status`). */
const TELL_PERIOD_MS = 2_000;
const TELL_SHARE = 0.05;

const DECLINED = 'not supported: the owner of this machine chooses its models';

/** What the coordinator asks this machine to have. One build is fetched at a time, and only where the owner said so. */
export class Downloads {
  readonly #options: DownloadsOptions;
  readonly #stop = new AbortController();
  /** `ordered`: by name; otherwise it follows from the builds that aliases should come to. */
  #line: { build: string; ordered: boolean }[] = [];
  #fetching: string | undefined;
  #work: Promise<void> = Promise.resolve();
  #connection: Connection | undefined;

  constructor(options: DownloadsOptions) {
    this.#options = options;
  }

  /** The connection over which the coordinator speaks now: what happens later is told there. */
  heard(connection: Connection): void {
    this.#connection = connection;
  }

  /** An order to fetch a build. */
  order(build: string): void {
    const { fetch, refuse, models } = this.#options;
    if (fetch === undefined) return this.#tell(build, { status: 'failed', error: DECLINED });
    if (models.some(({ id }) => id === build)) return this.#tell(build, { status: 'verified' });
    if (this.#expects(build)) return this.#tell(build, { status: 'started' });
    try {
      refuse();
    } catch (error) {
      return this.#tell(build, { status: 'failed', error: toFailure(error).message });
    }
    if (this.#line.length >= MAX_WAITING_DOWNLOADS) {
      return this.#tell(build, { status: 'failed', error: `${MAX_WAITING_DOWNLOADS} downloads wait already` });
    }
    this.#begin(build, true);
  }

  /** The builds that aliases should come to: fetched for those aliases that this machine serves. A new list takes the
   *  place of the last one, as far as that is not being fetched already. */
  desire(models: DesiredModels): void {
    this.#line = this.#line.filter(({ ordered }) => ordered);
    if (this.#options.fetch === undefined) return;
    for (const { model_name: alias, desired_build: build } of models) {
      const here = this.#options.models;
      const wanted = here.some((model) => model.alias === alias) && !here.some(({ id }) => id === build);
      if (wanted && !this.#expects(build) && this.#line.length < MAX_WAITING_DOWNLOADS) this.#begin(build, false);
    }
  }

  /** Stops what runs; what was fetched of it is kept for another time. */
  async close(): Promise<void> {
    this.#line = [];
    this.#stop.abort();
    await this.#work;
  }

  #expects(build: string): boolean {
    return this.#fetching === build || this.#line.some((waiting) => waiting.build === build);
  }

  #begin(build: string, ordered: boolean): void {
    this.#line.push({ build, ordered });
    if (this.#fetching === undefined) this.#work = this.#workOff();
  }

  async #workOff(): Promise<void> {
    const { fetch } = this.#options;
    for (let next = this.#line.shift(); next !== undefined && fetch !== undefined; next = this.#line.shift()) {
      this.#fetching = next.build;
      await this.#fetch(next.build, fetch);
      this.#fetching = undefined;
    }
  }

  async #fetch(build: string, fetch: FetchModel): Promise<void> {
    const { log } = this.#options;
    log.info({ build }, 'fetching a model for the coordinator');
    this.#tell(build, { status: 'started' });
    try {
      const model = await fetch(build, this.#progress(build), this.#stop.signal);
      log.info({ build }, 'a model came for the coordinator');
      this.#tell(build, { status: 'verified' });
      void this.#connection?.send({ type: 'models_update', models: [model] });
    } catch (error) {
      const { message } = toFailure(error);
      if (!this.#stop.signal.aborted) log.warn({ build, err: error }, 'a model for the coordinator did not come');
      this.#tell(build, { status: 'failed', error: message });
    }
  }

  #progress(build: string): (done: number, total: number) => void {
    const { clock } = this.#options;
    let last = { at: clock.now(), done: 0 };
    return (done, total) => {
      const now = clock.now();
      if (now - last.at < TELL_PERIOD_MS && done - last.done < total * TELL_SHARE) return;
      last = { at: now, done };
      this.#tell(build, { status: 'downloading', bytes_done: done, bytes_total: total });
    };
  }

  #tell(build: string, status: Status): void {
    void this.#connection?.send({ type: 'prefetch_model_status', model_id: build, ...status });
  }
}
