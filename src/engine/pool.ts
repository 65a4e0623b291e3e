import { DarkbloomError } from '../errors.js';
import type { ChatEvent, ChatRequest, Generator } from '../inference/types.js';
import { LinkedAbort } from '../util/linked-abort.js';
import { ModelSlot, type EngineModel, type SlotOptions, type SlotSnapshot, type Turn } from './model-slot.js';
import { evictionsFor } from './placement.js';
import { SpeedMeter } from './speed-meter.js';
import type { RunnerProcess } from './runner-process.js';

interface PoolOptions extends SlotOptions {
  /** Most memory that all loaded models may take together, bytes. */
  memoryLimitBytes: number;
}

const GIB = 1024 ** 3;

/** All models of this machine, and who is in memory. The engine, for everyone above. */
export class ModelPool implements Generator {
  readonly #slots: ReadonlyMap<string, ModelSlot>;
  readonly #memoryLimitBytes: number;
  readonly #speed: SpeedMeter;
  readonly #closing = new AbortController();
  readonly #idle: (() => void)[] = [];
  #running = 0;
  #peakBytes = 0;
  /** One load at a time, so that the sums are true when each begins. */
  #loads: Promise<void> = Promise.resolve();

  constructor(models: readonly EngineModel[], options: PoolOptions) {
    this.#memoryLimitBytes = options.memoryLimitBytes;
    this.#speed = new SpeedMeter(options.clock);
    this.#slots = new Map(models.map((model) => [model.id, new ModelSlot(model, options)]));
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
    return this.#memoryLimitBytes;
  }

  /** Memory of the models that are loaded or being loaded, bytes. */
  get usedBytes(): number {
    const resident = [...this.#slots.values()].filter(({ inMemory }) => inMemory);
    const used = resident.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#peakBytes = Math.max(this.#peakBytes, used);
    return used;
  }

  /** The most that was in use when anyone looked. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Answers a request to a model by its build id or alias. */
  async *generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const slot = this.#slotNamed(request.model);
    using either = new LinkedAbort(signal, this.#closing.signal);
    this.#running++;
    try {
      for await (const event of slot.generate(request, either.signal, () => this.#ready(slot))) {
        if (event.type === 'text') this.#speed.count();
        yield event;
      }
    } finally {
      this.#running--;
      if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** Brings a model into memory; resolves when it is there.
   *  @throws DarkbloomError `model_not_found`, `insufficient_memory`, `model_corrupt`. */
  async load(name: string): Promise<void> {
    await this.#ready(this.#slotNamed(name));
  }

  snapshot(): SlotSnapshot[] {
    return [...this.#slots.values()].map((slot) => slot.snapshot());
  }

  /** Cancels what runs and waits, then ends every runner. */
  async close(): Promise<void> {
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

  #slotOf(name: string): ModelSlot | undefined {
    return this.#slots.get(name) ?? [...this.#slots.values()].find(({ model }) => model.alias === name);
  }

  #ready(slot: ModelSlot): Promise<RunnerProcess> {
    return slot.load(() => this.#prepare(slot));
  }

  /** Waits for the turn to load. */
  async #prepare(slot: ModelSlot): Promise<Turn> {
    const before = this.#loads;
    let endTurn: () => void = () => undefined;
    this.#loads = new Promise((resolve) => (endTurn = resolve));
    await before;
    return { makeRoom: () => this.#makeRoom(slot), endTurn };
  }

  /** Unloads idle models, one after another, until `slot` fits. What is idle is looked at anew each time: a request may
   *  have come while the last one was unloaded. */
  async #makeRoom(slot: ModelSlot): Promise<void> {
    for (;;) {
      const others = [...this.#slots.values()].filter((other) => other !== slot && other.inMemory);
      const free = this.#memoryLimitBytes - others.reduce((sum, other) => sum + other.bytes, 0);
      const residents = others.map((other) => ({ ...other.snapshot(), busy: other.busy }));
      const evicted = evictionsFor(slot.bytes, free, residents);
      if (evicted === undefined) throw tooLarge(slot, Math.max(0, free), this.#memoryLimitBytes);
      const [first] = evicted;
      if (first === undefined) return;
      await this.#slots.get(first)?.unload();
    }
  }
}

function tooLarge(slot: ModelSlot, freeBytes: number, limitBytes: number): DarkbloomError {
  const gib = (bytes: number) => (bytes / GIB).toFixed(1);
  return new DarkbloomError(
    'insufficient_memory',
    `insufficient memory to load model '${slot.model.alias}': it needs ${gib(slot.bytes)} GiB, ` +
      `${gib(freeBytes)} of ${gib(limitBytes)} GiB are free and busy models keep the rest.`,
  );
}
