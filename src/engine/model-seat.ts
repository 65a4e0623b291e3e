import { DarkbloomError, toFailure } from '../errors.js';
import { footprint, prefixMemory, takesKvType, type Footprint, type ModelShape } from '../inference/footprint.js';
import type { Log } from '../log.js';
import type { LoadOrder } from '../runner-protocol/messages.js';
import type { Clock } from '../util/clock.js';
import { untilAborted } from '../util/linked-abort.js';
import type { LoadParameters } from './pool-settings.js';
import { RunnerProcess } from './runner-process.js';
import { longestSilenceMs } from './silence-watch.js';
import { nextSlotState, type SlotEvent, type SlotState } from './slot-state.js';

/** A load that failed is not tried again for so long; requests get the same answer at once. */
const LOAD_COOLDOWN_MS = 5_000;

/** A model that this machine can load. */
export interface EngineModel {
  /** Build id. */
  id: string;
  /** What a local client calls it. */
  alias: string;
  path: string;
  shape: ModelShape;
  /** The context the model was trained for, tokens. */
  trainedContextTokens: number;
  /** Longest answer, tokens. */
  maxOutputTokens: number;
  /** What it is for; absent: answers. */
  task?: LoadOrder['task'];
}

export interface SeatOptions {
  rows: number;
  contextTokens: number;
  parameters: LoadParameters;
  environment: Readonly<Record<string, string>>;
  /** A model without requests is unloaded after so long; 0: never. */
  idleUnloadMs: number;
  clock: Clock;
  log: Log;
}

/** What a seat needs from others. */
export interface Housing {
  /** Stays in memory. */
  pinned: boolean;
  /** Waits for room in memory and for the turn to load; `undefined` when nobody wants the model any more.
   *  @throws DarkbloomError `insufficient_memory` when there will never be room. */
  room: () => Promise<Turn | undefined>;
  /** Nothing runs on the model. */
  isIdle: () => boolean;
  /** Something changed that whoever waits for memory may care about. */
  changed: () => void;
  /** A pinned model's runner died, so long after it had loaded. */
  lost: (livedMs: number) => void;
}

/** The turn of one load, until it is given back. */
export interface Turn {
  end: () => void;
}

/** One model's seat in memory: its state, its runner, who wants it there. */
export class ModelSeat {
  readonly model: EngineModel;
  /** Memory when loaded, by the file's header. */
  readonly predicted: Footprint;
  readonly #options: SeatOptions;
  readonly #housing: Housing;
  /** Who waits for the model to be in memory. */
  readonly #wants = new Set<{ owner: boolean }>();
  readonly #closing = new AbortController();
  #state: SlotState = { name: 'absent' };
  #loading: Promise<RunnerProcess> | undefined;
  #unloading: Promise<void> | undefined;
  #idle: { timer: Disposable; endsAt: number } | undefined;
  #measuredBytes: number | undefined;
  #lastUsed = 0;

  constructor(model: EngineModel, options: SeatOptions, housing: Housing) {
    this.model = model;
    this.#options = options;
    this.#housing = housing;
    const { rows, parameters } = options;
    const contexts = model.task === 'vectors' ? 1 : rows; // texts are read one after another
    this.predicted = footprint(model.shape, contexts, this.contextTokens, parameters.kvType);
  }

  get contextTokens(): number {
    return Math.min(this.#options.contextTokens, this.model.trainedContextTokens);
  }

  get pinned(): boolean {
    return this.#housing.pinned;
  }

  /** A load that failed long ago counts as none. */
  get state(): SlotState['name'] {
    return this.#mayTryAgain() ? 'absent' : this.#state.name;
  }

  /** Memory of this model when loaded, bytes: measured once it was loaded, until then predicted. */
  get bytes(): number {
    if (this.#state.name === 'ready') return this.#state.runner.memoryBytes;
    return this.#measuredBytes ?? this.predicted.totalBytes;
  }

  get isMeasured(): boolean {
    return this.#state.name === 'ready' || this.#measuredBytes !== undefined;
  }

  /** How long the load took; `undefined` unless it is loaded. */
  get loadMs(): number | undefined {
    return this.#state.name === 'ready' ? this.#state.loadMs : undefined;
  }

  /** A load that still waits for room has nothing in memory yet. */
  get inMemory(): boolean {
    const { name } = this.#state;
    return name === 'loading' || name === 'ready' || name === 'unloading';
  }

  /** Loaded, and no request runs on it. Requests may wait while it is held. */
  get mayLeave(): boolean {
    return this.#state.name === 'ready' && this.#housing.isIdle();
  }

  get lastUsed(): number {
    return this.#lastUsed;
  }

  /** When it is unloaded if no request comes, ms since the epoch. */
  get unloadsAt(): number | undefined {
    return this.mayLeave ? this.#idle?.endsAt : undefined;
  }

  /** Whose requests wait for the model to be in memory. */
  get wantedBy(): 'owner' | 'stranger' | undefined {
    if ([...this.#wants].some(({ owner }) => owner)) return 'owner';
    return this.#wants.size > 0 ? 'stranger' : undefined;
  }

  /** The model's runner, once it is in memory; `undefined` when the signal is aborted first.
   *  @throws DarkbloomError `model_corrupt`, `insufficient_memory`, `runner_died`, `cancelled` when the seat closes. */
  async runner(owner: boolean, signal: AbortSignal): Promise<RunnerProcess | undefined> {
    const want = { owner };
    this.#wants.add(want);
    this.#housing.changed(); // one of the owner's may have joined
    try {
      return await untilAborted(this.#load(), signal);
    } finally {
      this.#wants.delete(want);
      this.#housing.changed();
    }
  }

  /** The loaded model's runner; starts it when there is none. Calls during a load share it.
   *  @throws DarkbloomError `model_corrupt`, `insufficient_memory`, `runner_died`, `cancelled` when the slot closes. */
  #load(): Promise<RunnerProcess> {
    if (this.#state.name === 'ready') return Promise.resolve(this.#state.runner);
    if (this.#mayTryAgain()) this.#change({ type: 'retry' });
    if (this.#state.name === 'failed') return Promise.reject(this.#state.error);
    this.#loading ??= this.#start();
    return this.#loading;
  }

  /** Whether the last load failed so long ago that the next one may be tried. */
  #mayTryAgain(): boolean {
    return this.#state.name === 'failed' && this.#state.until <= this.#options.clock.now();
  }

  async #start(): Promise<RunnerProcess> {
    const { clock, log } = this.#options;
    await this.#unloading;
    this.#change({ type: 'load' });
    let turn: Turn | undefined;
    try {
      this.#refuseKvType();
      do turn = await this.#housing.room();
      while (turn === undefined && this.wantedBy !== undefined);
      this.#closing.signal.throwIfAborted();
      if (turn === undefined || this.wantedBy === undefined) throw new DarkbloomError('cancelled', 'request cancelled');
      this.#change({ type: 'room_made' });
      const begun = clock.now();
      const runner = await this.#startRunner();
      const loadedAt = clock.now();
      const loadMs = loadedAt - begun;
      this.#change({ type: 'loaded', runner, loadMs });
      void runner.exited.then(() => this.#gone(runner, loadedAt));
      this.#lastUsed = loadedAt;
      this.#rest();
      const { device, gpuLayers, memoryBytes } = runner.facts;
      const predictedBytes = this.predicted.totalBytes;
      log.info({ model: this.model.id, loadMs, device, gpuLayers, predictedBytes, memoryBytes }, 'model loaded');
      return runner;
    } catch (cause) {
      const error = this.#state.name === 'waiting' ? toFailure(cause) : this.#loadError(cause);
      if (error.code !== 'cancelled')
        log.warn({ model: this.model.id, code: error.code, error: error.message }, 'model not loaded');
      this.#change({ type: 'given_up' });
      this.#change({ type: 'load_failed', error, until: clock.now() + LOAD_COOLDOWN_MS });
      throw error;
    } finally {
      this.#loading = undefined; // in the same turn as the state: whoever asks next finds both or neither
      turn?.end();
    }
  }

  #startRunner(): Promise<RunnerProcess> {
    const { rows, parameters, environment, clock, log } = this.#options;
    const { contextTokens } = this;
    const { id, path: modelPath, shape, task } = this.model;
    const prefixes = prefixMemory(shape, rows, contextTokens, parameters.kvType);
    const what = { modelPath, ...(task === undefined ? {} : { task }) };
    return RunnerProcess.start(
      { type: 'load', ...what, rows, contextTokens, prefixMemory: prefixes, ...parameters },
      {
        environment,
        longestSilenceMs: longestSilenceMs(shape.weightBytes),
        clock,
        log: log.child({ model: id }),
        signal: this.#closing.signal,
      },
    );
  }

  #refuseKvType(): void {
    const { kvType = 'f16' } = this.#options.parameters;
    const { alias, shape } = this.model;
    if (takesKvType(shape, kvType)) return;
    throw new DarkbloomError(
      'not_supported',
      `engine.kv_type: ${kvType} needs heads of a multiple of 32 values; ${alias} has heads of ${shape.keyLength} and ` +
        `${shape.valueLength}. Set engine.kv_type to f16.`,
      { param: 'engine.kv_type' },
    );
  }

  #gone(runner: RunnerProcess, loadedAt: number): void {
    if (this.#state.name === 'ready' && this.#state.runner !== runner) return;
    const wasLost = this.#state.name === 'ready';
    this.#change({ type: 'gone' });
    this.#housing.changed();
    if (wasLost && this.pinned) this.#housing.lost(this.#options.clock.now() - loadedAt);
  }

  /** A request has left it. */
  left(): void {
    this.#lastUsed = this.#options.clock.now();
    this.#rest();
    this.#housing.changed();
  }

  /** Gives the memory back. Does nothing unless the model is loaded and nothing runs on it. */
  async unload(): Promise<void> {
    if (this.mayLeave) await this.#release();
  }

  async #release(): Promise<void> {
    if (this.#state.name !== 'ready') return;
    const { runner } = this.#state;
    this.#change({ type: 'unload' });
    this.#unloading = runner.close();
    await this.#unloading;
    this.#change({ type: 'gone' });
    this.#housing.changed();
  }

  /** A model that rests for long enough is unloaded. */
  #rest(): void {
    const { clock, idleUnloadMs, log } = this.#options;
    this.#idle?.timer[Symbol.dispose]();
    this.#idle = undefined;
    if (idleUnloadMs === 0 || this.pinned || !this.mayLeave || this.#closing.signal.aborted) return;
    const timer = clock.after(idleUnloadMs, () => {
      this.#idle = undefined;
      if (!this.mayLeave) return;
      log.info({ model: this.model.id }, 'model idle: unloaded');
      void this.#release();
    });
    this.#idle = { timer, endsAt: clock.now() + idleUnloadMs };
  }

  /** Ends the runner, also in the middle of a load. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#idle?.timer[Symbol.dispose]();
    await this.#loading?.catch(() => undefined);
    await this.#release();
    await this.#unloading;
  }

  #change(event: SlotEvent): void {
    if (this.#state.name === 'ready') this.#measuredBytes = this.#state.runner.memoryBytes;
    this.#state = nextSlotState(this.#state, event);
  }

  /** The runtime's own words for too little memory, as an error of ours. */
  #loadError(cause: unknown): DarkbloomError {
    const { alias } = this.model;
    const failure = toFailure(cause);
    if (failure.code === 'cancelled') return failure;
    const text = failure.cause instanceof Error ? failure.cause.message : failure.message;
    if (/memory|VRAM/iu.test(text)) {
      const { gpuLayers = 'auto' } = this.#options.parameters;
      const layers = gpuLayers === 'auto' ? '' : ` with engine.gpu_layers = ${gpuLayers}`;
      return new DarkbloomError('insufficient_memory', `insufficient memory to load model '${alias}'${layers}`, {
        cause,
      });
    }
    return new DarkbloomError(failure.code, `model load failed: ${alias}: ${failure.message}`, { cause });
  }
}
