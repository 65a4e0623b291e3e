import { DarkbloomError, toFailure } from '../errors.js';
import { footprint, prefixStoreBytes, takesKvType, type Footprint, type ModelShape } from '../inference/footprint.js';
import type { EmbedRequest } from '../inference/embeddings.js';
import type { Operation, OperationEvent } from '../inference/operations.js';
import { isContent, type ChatEvent, type ChatRequest } from '../inference/types.js';
import type { Log } from '../log.js';
import type { LoadOrder } from '../runner-protocol/messages.js';
import type { Clock } from '../util/clock.js';
import { LinkedAbort } from '../util/linked-abort.js';
import { Admission, type Hold } from './admission.js';
import { untilIdle, untilRowFree } from './forecast.js';
import type { LoadParameters } from './pool-settings.js';
import { MeasuredPace } from './measured-pace.js';
import { RunnerProcess } from './runner-process.js';
import { longestSilenceMs } from './silence-watch.js';
import { nextSlotState, type SlotEvent, type SlotState } from './slot-state.js';

/** A load that failed is not tried again for so long; requests get the same answer at once. */
const LOAD_COOLDOWN_MS = 5_000;
/** So long a request waits for a row and for memory. A coordinator gives up after 600 s without content
 *  (docs/protocol.md, limits), and loading and reading the prompt take their time too. */
export const OWNER_WAIT_MS = 300_000;
/** Others go elsewhere sooner. */
export const STRANGER_WAIT_MS = 60_000;

/** Prompts of one model that are counted, or wait for the model to be counted. */
const MAX_COUNTING = 64;
/** Values of all vectors of one answer: sealed they must fit into one frame (docs/protocol.md, limits). */
const MAX_VECTOR_VALUES = 1024 * 1024;

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

export interface SlotOptions {
  rows: number;
  contextTokens: number;
  parameters: LoadParameters;
  environment: Readonly<Record<string, string>>;
  /** A model without requests is unloaded after so long; 0: never. */
  idleUnloadMs: number;
  clock: Clock;
  log: Log;
}

/** What a slot needs from the pool. */
export interface Housing {
  /** Stays in memory. */
  pinned: boolean;
  /** Waits for room in memory and for the turn to load; `undefined` when nobody wants the model any more.
   *  @throws DarkbloomError `insufficient_memory` when there will never be room. */
  room: () => Promise<Turn | undefined>;
  /** Why there is no room now. */
  refusal: () => DarkbloomError;
  /** Something about the slot changed that the pool may care about. */
  changed: () => void;
  /** A pinned model's runner died, so long after it had loaded. */
  lost: (livedMs: number) => void;
}

/** The turn of one load, until it is given back. */
export interface Turn {
  end: () => void;
}

/** What is known of a slot at this moment. */
export interface SlotSnapshot {
  id: string;
  state: SlotState['name'];
  running: number;
  waiting: number;
  rows: number;
  contextTokens: number;
  /** Tokens in context over running requests. */
  activeTokens: number;
  /** Prompt and output bound over running requests, tokens. */
  reservedTokens: number;
  decodeTps: number | undefined;
  prefillTps: number | undefined;
  loadMs: number | undefined;
  /** Memory when loaded: measured once it was loaded, until then predicted. */
  bytes: number;
  isMeasured: boolean;
  predicted: Footprint;
  pinned: boolean;
  lastUsed: number;
  /** When it is unloaded if no request comes, ms since the epoch. */
  unloadsAt: number | undefined;
}

/** One running request, as far as capacity is concerned. */
interface Load {
  prompt: number;
  written: number;
  bound: number;
}

/** One model's seat in memory: its state, its runner, who runs and who waits. */
export class ModelSlot {
  readonly model: EngineModel;
  /** Memory when loaded, by the file's header. */
  readonly predicted: Footprint;
  readonly #options: SlotOptions;
  readonly #housing: Housing;
  readonly #admission: Admission;
  readonly #loads = new Set<Load>();
  /** Who waits for the model to be in memory. */
  readonly #wants = new Set<{ owner: boolean }>();
  readonly #closing = new AbortController();
  #state: SlotState = { name: 'absent' };
  #loading: Promise<RunnerProcess> | undefined;
  #unloading: Promise<void> | undefined;
  #idle: { timer: Disposable; endsAt: number } | undefined;
  #measuredBytes: number | undefined;
  readonly #pace = new MeasuredPace();
  #lastUsed = 0;
  /** Prompts that are counted beside the rows. */
  #counting = 0;

  constructor(model: EngineModel, options: SlotOptions, housing: Housing) {
    this.model = model;
    this.#options = options;
    this.#housing = housing;
    const { rows, parameters } = options;
    const contexts = model.task === 'vectors' ? 1 : rows; // texts are read one after another
    this.predicted = footprint(model.shape, contexts, this.contextTokens, parameters.kvType);
    const retryAfterS = () => untilRowFree([...this.#loads], this.#pace);
    this.#admission = new Admission({ rows, model: model.alias, retryAfterS });
  }

  get contextTokens(): number {
    return Math.min(this.#options.contextTokens, this.model.trainedContextTokens);
  }

  get pinned(): boolean {
    return this.#housing.pinned;
  }

  /** Memory of this model when loaded, bytes. */
  get bytes(): number {
    if (this.#state.name === 'ready') return this.#state.runner.memoryBytes;
    return this.#measuredBytes ?? this.predicted.totalBytes;
  }

  get isReady(): boolean {
    return this.#state.name === 'ready';
  }

  /** A load that still waits for room has nothing in memory yet. */
  get inMemory(): boolean {
    const { name } = this.#state;
    return name === 'loading' || name === 'ready' || name === 'unloading';
  }

  /** Loaded, and no request runs on it. Requests may wait while it is held. */
  get mayLeave(): boolean {
    return this.#state.name === 'ready' && this.#admission.running === 0 && this.#counting === 0;
  }

  get lastUsed(): number {
    return this.#lastUsed;
  }

  /** Whose requests wait for the model to be in memory. */
  get wantedBy(): 'owner' | 'stranger' | undefined {
    if ([...this.#wants].some(({ owner }) => owner)) return 'owner';
    return this.#wants.size > 0 ? 'stranger' : undefined;
  }

  /** When nothing will probably run or wait here, seconds. */
  get untilIdleS(): number {
    return untilIdle([...this.#loads], this.#admission.waiting, this.#options.rows, this.#pace);
  }

  /** Keeps requests from the rows while another model waits for this one's memory. */
  hold(hold: Hold): void {
    this.#admission.hold(hold);
  }

  /** Answers one request: waits for a row, then for the model, then writes. */
  async *generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const { owner = false } = request;
    this.#admission.check(owner);
    const maxTokens = Math.min(request.maxTokens ?? Infinity, this.model.maxOutputTokens);
    const load: Load = { prompt: 0, written: 0, bound: maxTokens };
    let hasRow = false;
    using patience = new LinkedAbort(signal);
    using _limit = this.#limitWait(owner, patience, () => hasRow);
    const entering = this.#admission.enter(owner, patience.signal);
    entering.catch(() => undefined); // told when the reader asks for the next event, which may be later
    try {
      yield { type: 'accepted' };
      hasRow = (await entering) !== undefined;
      const runner = hasRow ? await this.#runnerFor(owner, patience.signal) : undefined;
      if (runner === undefined) {
        if (!signal.aborted) patience.signal.throwIfAborted();
        yield { type: 'cancelled', usage: { promptTokens: 0, completionTokens: 0 } };
        return;
      }
      this.#loads.add(load);
      for await (const event of runner.generate({ ...request, maxTokens }, signal, (timing) =>
        this.#pace.learn(timing),
      )) {
        if (event.type === 'started') load.prompt = event.promptTokens;
        else if (isContent(event)) load.written++;
        yield event;
      }
    } finally {
      this.#loads.delete(load);
      await this.#leave(entering, patience);
    }
  }

  /** One operation. Vectors take a row as answers do; counting takes none: the runner does it between two steps. */
  async *operate(operation: Operation, signal: AbortSignal): AsyncGenerator<OperationEvent> {
    const { owner = false } = operation.request;
    let hasRow = false;
    using patience = new LinkedAbort(signal);
    using _limit = this.#limitWait(owner, patience, () => hasRow);
    const entering = operation.op === 'count' ? this.#enterCounting() : this.#enterRow(owner, patience.signal);
    entering.catch(() => undefined); // as in `generate`
    try {
      yield { type: 'accepted' };
      hasRow = (await entering) !== undefined;
      const runner = hasRow ? await this.#runnerFor(owner, patience.signal) : undefined;
      if (runner === undefined) {
        patience.signal.throwIfAborted();
        throw new DarkbloomError('cancelled', 'request cancelled');
      }
      if (operation.op === 'embed') refuseVectors(operation.request, runner.facts.dimensions ?? 0, this.model.alias);
      yield { type: 'result', result: await runner.operate(operation, signal) };
    } finally {
      await this.#leave(entering, patience);
    }
  }

  #enterRow(owner: boolean, signal: AbortSignal): Promise<(() => void) | undefined> {
    this.#admission.check(owner);
    return this.#admission.enter(owner, signal);
  }

  #enterCounting(): Promise<() => void> {
    if (this.#counting >= MAX_COUNTING) {
      const message = `queue full: ${MAX_COUNTING} prompts of ${this.model.alias} are being counted, the most that may.`;
      throw new DarkbloomError('over_capacity', message, { retryAfterS: 1 });
    }
    this.#counting++;
    return Promise.resolve(() => void this.#counting--);
  }

  /** Ends one request's stay: in line, in its row or beside the rows. */
  async #leave(entering: Promise<(() => void) | undefined>, patience: LinkedAbort): Promise<void> {
    this.#lastUsed = this.#options.clock.now();
    patience.abort(new DarkbloomError('cancelled', 'request cancelled')); // a reader that left while it was in line
    const leave = await entering.catch(() => undefined);
    leave?.();
    this.#rest();
    this.#housing.changed();
  }

  /** Brings the model into memory.
   *  @throws DarkbloomError as `generate` does before the first text; the signal's reason. */
  async load(owner: boolean, signal: AbortSignal): Promise<void> {
    using patience = new LinkedAbort(signal);
    using _limit = this.#limitWait(owner, patience, () => true);
    const runner = await this.#runnerFor(owner, patience.signal);
    if (runner === undefined) patience.signal.throwIfAborted();
  }

  /** Ends the wait for a row or for room when it was too long. A load that has begun is waited for. */
  #limitWait(owner: boolean, patience: LinkedAbort, hasRow: () => boolean): Disposable {
    const ms = owner ? OWNER_WAIT_MS : STRANGER_WAIT_MS;
    return this.#options.clock.after(ms, () => {
      if (!hasRow()) patience.abort(this.#noRowWithin(ms));
      else if (this.#state.name !== 'loading' && this.#state.name !== 'ready') patience.abort(this.#housing.refusal());
    });
  }

  #noRowWithin(ms: number): DarkbloomError {
    const message = `None of the ${this.#options.rows} slots of ${this.model.alias} became free within ${ms / 1_000} s.`;
    return new DarkbloomError('over_capacity', message, { retryAfterS: untilRowFree([...this.#loads], this.#pace) });
  }

  /** `undefined` when the signal is aborted first. */
  async #runnerFor(owner: boolean, signal: AbortSignal): Promise<RunnerProcess | undefined> {
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
    const storeBytes = prefixStoreBytes(shape, rows, contextTokens, parameters.kvType);
    const what = { modelPath, ...(task === undefined ? {} : { task }) };
    return RunnerProcess.start(
      { type: 'load', ...what, rows, contextTokens, prefixStoreBytes: storeBytes, ...parameters },
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

  snapshot(): SlotSnapshot {
    const ready = this.#state.name === 'ready' ? this.#state : undefined;
    const loads = [...this.#loads];
    return {
      id: this.model.id,
      state: this.#mayTryAgain() ? 'absent' : this.#state.name,
      running: this.#admission.running,
      waiting: this.#admission.waiting,
      rows: this.#options.rows,
      contextTokens: this.contextTokens,
      activeTokens: loads.reduce((sum, load) => sum + load.prompt + load.written, 0),
      reservedTokens: loads.reduce((sum, load) => sum + Math.min(load.prompt + load.bound, this.contextTokens), 0),
      decodeTps: this.#pace.tokensPerS,
      prefillTps: this.#pace.promptTokensPerS,
      loadMs: ready?.loadMs,
      bytes: this.bytes,
      isMeasured: ready !== undefined || this.#measuredBytes !== undefined,
      predicted: this.predicted,
      pinned: this.pinned,
      lastUsed: this.#lastUsed,
      unloadsAt: this.mayLeave ? this.#idle?.endsAt : undefined,
    };
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

/** @throws DarkbloomError `invalid_request` for vectors of another size, or more than one answer holds. */
function refuseVectors({ inputs, dimensions }: EmbedRequest, values: number, alias: string): void {
  if (dimensions !== undefined && dimensions !== values) {
    const message = `'dimensions': the vectors of ${alias} have ${values} values; they are not cut to ${dimensions}.`;
    throw new DarkbloomError('invalid_request', message, { param: 'dimensions' });
  }
  const most = Math.floor(MAX_VECTOR_VALUES / Math.max(1, values));
  if (inputs.length <= most) return;
  const message = `'input': must be at most ${most} texts for vectors of ${values} values; got a list of ${inputs.length}.`;
  throw new DarkbloomError('invalid_request', message, { param: 'input' });
}

/** The promise's value, `undefined` when the signal is aborted first. What the promise waits for goes on. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(undefined);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
