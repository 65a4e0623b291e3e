import { DarkbloomError, toFailure } from '../errors.js';
import { footprint, prefixStoreBytes } from '../inference/footprint.js';
import type { ModelShape } from '../inference/footprint.js';
import type { ChatEvent, ChatRequest } from '../inference/types.js';
import type { Log } from '../log.js';
import type { Clock } from '../util/clock.js';
import { Admission } from './admission.js';
import { RunnerProcess, type Timing } from './runner-process.js';
import { nextSlotState, type SlotEvent, type SlotState } from './slot-state.js';

/** A load that failed is not tried again for so long; requests get the same answer at once. */
const LOAD_COOLDOWN_MS = 5_000;
/** Weight of the newest answer in the moving averages of speed. */
const SPEED_WEIGHT = 0.3;

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
}

export interface SlotOptions {
  rows: number;
  contextTokens: number;
  threads: number | undefined;
  environment: Readonly<Record<string, string>>;
  clock: Clock;
  log: Log;
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
  bytes: number;
  lastUsed: number;
}

/** The turn of one load. */
export interface Turn {
  /** @throws DarkbloomError `insufficient_memory`. */
  makeRoom: () => Promise<void>;
  endTurn: () => void;
}

/** Waits for the turn to load. */
type Prepare = () => Promise<Turn>;

/** One running request, as far as capacity is concerned. */
interface Load {
  prompt: number;
  written: number;
  bound: number;
}

/** One model's seat in memory: its state, its runner, who runs and who waits. */
export class ModelSlot {
  readonly model: EngineModel;
  readonly #options: SlotOptions;
  readonly #admission: Admission;
  readonly #loads = new Set<Load>();
  #state: SlotState = { name: 'absent' };
  readonly #closing = new AbortController();
  #loading: Promise<RunnerProcess> | undefined;
  /** Room was made for the load that is under way. */
  #hasRoom = false;
  #unloading: Promise<void> | undefined;
  #decodeTps: number | undefined;
  #prefillTps: number | undefined;
  #lastUsed = 0;

  constructor(model: EngineModel, options: SlotOptions) {
    this.model = model;
    this.#options = options;
    this.#admission = new Admission(options.rows);
  }

  get contextTokens(): number {
    return Math.min(this.#options.contextTokens, this.model.trainedContextTokens);
  }

  /** Memory of this model when loaded, bytes. */
  get bytes(): number {
    return footprint(this.model.shape, this.#options.rows, this.contextTokens).totalBytes;
  }

  /** A load that still waits for its turn has nothing in memory yet. */
  get inMemory(): boolean {
    const { name } = this.#state;
    return name === 'ready' || name === 'unloading' || (name === 'loading' && this.#hasRoom);
  }

  get busy(): boolean {
    return this.#admission.running + this.#admission.waiting > 0 || this.#state.name === 'loading';
  }

  /** Answers one request: waits for a row, then for the model, then writes.
   *  `makeReady` brings the model into memory; the pool decides how room is made. */
  async *generate(
    request: ChatRequest,
    signal: AbortSignal,
    makeReady: () => Promise<RunnerProcess>,
  ): AsyncGenerator<ChatEvent> {
    this.#admission.check(this.model.alias);
    const maxTokens = Math.min(request.maxTokens ?? Infinity, this.model.maxOutputTokens);
    const load: Load = { prompt: 0, written: 0, bound: maxTokens };
    const entering = this.#admission.enter(request.owner, signal);
    try {
      yield { type: 'accepted' };
      const runner = (await entering) === undefined ? undefined : await untilAborted(makeReady(), signal);
      if (runner === undefined) {
        yield { type: 'cancelled', usage: { promptTokens: 0, completionTokens: 0 } };
        return;
      }
      this.#loads.add(load);
      for await (const event of runner.generate({ ...request, maxTokens }, signal, (timing) => this.#learn(timing))) {
        if (event.type === 'started') load.prompt = event.promptTokens;
        else if (event.type === 'text') load.written++;
        yield event;
      }
    } finally {
      this.#loads.delete(load);
      this.#lastUsed = this.#options.clock.now();
      void entering.then((leave) => leave?.()); // a reader that left while it waited gives back what it gets
    }
  }

  /** The loaded model's runner; starts it when there is none. Calls during a load share it.
   *  @throws DarkbloomError `model_corrupt`, `insufficient_memory`, `runner_died`, `cancelled` when the slot closes. */
  load(prepare: Prepare): Promise<RunnerProcess> {
    if (this.#state.name === 'ready') return Promise.resolve(this.#state.runner);
    if (this.#mayTryAgain()) this.#change({ type: 'retry' });
    if (this.#state.name === 'failed') return Promise.reject(this.#state.error);
    this.#loading ??= this.#start(prepare).finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  /** Whether the last load failed so long ago that the next one may be tried. */
  #mayTryAgain(): boolean {
    return this.#state.name === 'failed' && this.#state.until <= this.#options.clock.now();
  }

  async #start(prepare: Prepare): Promise<RunnerProcess> {
    const { rows, threads, environment, clock, log } = this.#options;
    await this.#unloading;
    this.#change({ type: 'load' });
    const begun = clock.now();
    let endTurn: (() => void) | undefined;
    try {
      const turn = await prepare();
      ({ endTurn } = turn);
      this.#closing.signal.throwIfAborted();
      await turn.makeRoom();
      this.#hasRoom = true;
      const runner = await RunnerProcess.start(
        {
          type: 'load',
          modelPath: this.model.path,
          rows,
          contextTokens: this.contextTokens,
          prefixStoreBytes: prefixStoreBytes(this.model.shape, rows, this.contextTokens),
          ...(threads === undefined ? {} : { threads }),
        },
        { environment, log: log.child({ model: this.model.id }), signal: this.#closing.signal },
      );
      this.#change({ type: 'loaded', runner, loadMs: clock.now() - begun });
      void runner.exited.then(() => this.#gone(runner));
      this.#lastUsed = clock.now();
      log.info({ model: this.model.id, loadMs: clock.now() - begun, device: runner.facts.device }, 'model loaded');
      return runner;
    } catch (cause) {
      const error = loadError(this.model.alias, cause);
      log.warn({ model: this.model.id, code: error.code, error: error.message }, 'model not loaded');
      this.#change({ type: 'load_failed', error, until: clock.now() + LOAD_COOLDOWN_MS });
      throw error;
    } finally {
      this.#hasRoom = false;
      endTurn?.(); // only now, when the state says what became of it: the next one counts what is in memory
    }
  }

  #gone(runner: RunnerProcess): void {
    if (this.#state.name === 'ready' && this.#state.runner !== runner) return;
    this.#change({ type: 'gone' });
  }

  /** Gives the memory back. Does nothing unless the model is loaded and idle. */
  async unload(): Promise<void> {
    if (!this.busy) await this.#release();
  }

  async #release(): Promise<void> {
    if (this.#state.name !== 'ready') return;
    const { runner } = this.#state;
    this.#change({ type: 'unload' });
    this.#unloading = runner.close();
    await this.#unloading;
    this.#change({ type: 'gone' });
  }

  /** Ends the runner, also in the middle of a load. */
  async close(): Promise<void> {
    this.#closing.abort();
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
      decodeTps: this.#decodeTps,
      prefillTps: this.#prefillTps,
      loadMs: ready?.loadMs,
      bytes: this.bytes,
      lastUsed: this.#lastUsed,
    };
  }

  #learn({ promptTokens, promptMs, completionTokens, outputMs }: Timing): void {
    this.#prefillTps = average(this.#prefillTps, promptTokens, promptMs);
    this.#decodeTps = average(this.#decodeTps, completionTokens, outputMs);
  }

  #change(event: SlotEvent): void {
    this.#state = nextSlotState(this.#state, event);
  }
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

/** Tokens per second, the newest answer weighing more. */
function average(before: number | undefined, tokens: number, ms: number): number | undefined {
  if (tokens === 0 || ms <= 0) return before;
  const rate = (tokens / ms) * 1_000;
  return before === undefined ? rate : before + SPEED_WEIGHT * (rate - before);
}

/** The runtime's own words for too little memory, as an error of ours. */
function loadError(alias: string, cause: unknown): DarkbloomError {
  const failure = toFailure(cause);
  if (failure.code === 'insufficient_memory') return failure;
  const text = failure.cause instanceof Error ? failure.cause.message : failure.message;
  if (/memory|VRAM/iu.test(text)) {
    return new DarkbloomError('insufficient_memory', `insufficient memory to load model '${alias}'`, { cause });
  }
  return new DarkbloomError(failure.code, `model load failed: ${alias}: ${failure.message}`, { cause });
}
