import { setMaxListeners } from 'node:events';
import { DarkbloomError } from '../errors.js';
import type { Engine, Operation, OperationEvent } from '../inference/operations.js';
import { isContent, type ChatEvent, type ChatRequest } from '../inference/types.js';
import { LinkedAbort } from '../util/linked-abort.js';
import { Keeper } from './keeper.js';
import { keptModels, refuseTooManyKept } from './kept-models.js';
import { LoadLine } from './load-line.js';
import type { MemoryBudget } from './memory-budget.js';
import type { EngineModel, SeatOptions } from './model-seat.js';
import { ModelSlot, type SlotSnapshot } from './model-slot.js';
import { SpeedMeter } from './speed-meter.js';

export interface PoolOptions extends SeatOptions {
  budget: MemoryBudget;
  /** Most models in memory at once; absent: as many as fit. */
  maxLoadedModels?: number | undefined;
  /** Models that are never unloaded, by alias or build id. */
  keepLoaded?: readonly string[];
}

/** All models of this machine, and who is in memory. The engine, for everyone above. */
export class ModelPool implements Engine {
  readonly #slots: Map<string, ModelSlot>;
  readonly #options: PoolOptions;
  readonly #speed: SpeedMeter;
  readonly #closing = new AbortController();
  readonly #idle: (() => void)[] = [];
  readonly #line: LoadLine;
  /** Of the models that are kept, by id. */
  readonly #keepers = new Map<string, Keeper>();
  #running = 0;
  #peakBytes = 0;

  /** @throws DarkbloomError `config_invalid` when a model to keep is not there, or when they do not fit together. */
  constructor(models: readonly EngineModel[], options: PoolOptions) {
    this.#options = options;
    setMaxListeners(0, this.#closing.signal); // one for each request
    this.#speed = new SpeedMeter(options.clock);
    const { budget, maxLoadedModels = Infinity, log } = options;
    this.#line = new LoadLine({ slots: () => [...this.#slots.values()], budget, maxLoadedModels, log });
    const kept = keptModels(models, options.keepLoaded ?? []);
    this.#slots = new Map(models.map((model) => [model.id, this.#createSlot(model, kept.has(model.id))]));
    const pinned = [...this.#slots.values()].filter(({ seat }) => seat.pinned);
    refuseTooManyKept(
      pinned.map(({ model, seat }) => ({ alias: model.alias, bytes: seat.bytes })),
      budget,
      maxLoadedModels,
    );
  }

  #createSlot(model: EngineModel, pinned: boolean): ModelSlot {
    const slot: ModelSlot = new ModelSlot(model, this.#options, {
      pinned,
      room: () => this.#line.room(slot),
      refusal: () => this.#line.refusal(slot),
      changed: () => this.#line.advance(),
      lost: (livedMs) => this.#keepers.get(model.id)?.lost(livedMs),
    });
    return slot;
  }

  /** Takes a model that came after the start. One that is here already stays as it is. */
  add(model: EngineModel): void {
    if (!this.#slots.has(model.id)) this.#slots.set(model.id, this.#createSlot(model, false));
  }

  get models(): EngineModel[] {
    return [...this.#slots.values()].map(({ model }) => model);
  }

  /** The model with this build id or alias. */
  find(name: string): EngineModel | undefined {
    return this.#slotOf(name)?.model;
  }

  /** Tokens per second over all models in each of the last 60 s, the oldest first. */
  get tokensPerSecond(): number[] {
    return this.#speed.history();
  }

  /** Requests that run or wait. */
  get running(): number {
    return this.#running;
  }

  /** Resolves when none runs or waits. */
  idle(): Promise<void> {
    return this.#running === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  get memoryLimitBytes(): number {
    return this.#options.budget.limitBytes;
  }

  /** Memory of the models that are loaded or being loaded, bytes. */
  get usedBytes(): number {
    const used = this.#line.usedBytes;
    this.#peakBytes = Math.max(this.#peakBytes, used);
    return used;
  }

  /** The most that was in use when anyone looked. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Answers a request to a model by its build id or alias. */
  async *generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const slot = this.#slotFor(request.model, 'answers');
    using either = new LinkedAbort(signal, this.#closing.signal);
    using _running = this.#enter();
    for await (const event of slot.generate(request, either.signal)) {
      if (isContent(event)) this.#speed.count();
      yield event;
    }
  }

  /** An operation of a model by its build id or alias. */
  async *operate(operation: Operation, signal: AbortSignal): AsyncGenerator<OperationEvent> {
    const slot = this.#slotFor(operation.request.model, operation.op === 'embed' ? 'vectors' : 'answers');
    using either = new LinkedAbort(signal, this.#closing.signal);
    using _running = this.#enter();
    yield* slot.operate(operation, either.signal);
  }

  #enter(): Disposable {
    this.#running++;
    return {
      [Symbol.dispose]: () => {
        this.#running--;
        if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
      },
    };
  }

  /** Whether the model with this build id or alias can answer at once. */
  isLoaded(name: string): boolean {
    return this.#slotOf(name)?.seat.state === 'ready';
  }

  /** Brings a model into memory for the coordinator, which comes after the owner; resolves when it is there.
   *  @throws DarkbloomError `model_not_found`, `insufficient_memory`, `model_corrupt`. */
  async load(name: string): Promise<void> {
    await this.#slotNamed(name).load(false, this.#closing.signal);
  }

  /** Begins to load the models that are kept, and sees to it that they are. */
  loadKept(): void {
    const { clock, log } = this.#options;
    for (const slot of this.#slots.values()) {
      if (!slot.seat.pinned) continue;
      const load = () => slot.load(true, this.#closing.signal);
      const keeper = new Keeper({ model: slot.model.id, load, clock, log });
      this.#keepers.set(slot.model.id, keeper);
      void keeper.start();
    }
  }

  snapshot(): SlotSnapshot[] {
    return [...this.#slots.values()].map((slot) => slot.snapshot());
  }

  /** Cancels what runs and waits, then ends every runner. */
  async close(): Promise<void> {
    for (const keeper of this.#keepers.values()) keeper.stop();
    this.#closing.abort();
    await Promise.all([...this.#slots.values()].map((slot) => slot.close()));
  }

  #slotNamed(name: string): ModelSlot {
    const slot = this.#slotOf(name);
    if (slot !== undefined) return slot;
    const known = this.models.map(({ alias }) => alias).join(', ');
    throw new DarkbloomError('model_not_found', `This machine has no model named '${name}'. It has: ${known}.`, {
      param: 'model',
    });
  }

  /** @throws DarkbloomError `model_not_found`; `invalid_request` for a model that is for something else. */
  #slotFor(name: string, task: NonNullable<EngineModel['task']>): ModelSlot {
    const slot = this.#slotNamed(name);
    if ((slot.model.task ?? 'answers') === task) return slot;
    const others = this.models.filter((model) => (model.task ?? 'answers') === task).map(({ alias }) => alias);
    const { alias } = slot.model;
    const use = others.length === 0 ? 'this machine has none' : `this machine has ${others.join(', ')}`;
    const message =
      task === 'vectors'
        ? `'model': ${alias} is a model for answers, not for embeddings. Name an embedding model: ${use}.`
        : `'model': ${alias} is an embedding model and writes no answers; its texts go to /v1/embeddings. Name a chat model: ${use}.`;
    throw new DarkbloomError('invalid_request', message, { param: 'model' });
  }

  #slotOf(name: string): ModelSlot | undefined {
    return this.#slots.get(name) ?? [...this.#slots.values()].find(({ model }) => model.alias === name);
  }
}
