import { DarkbloomError } from '../errors.js';
import { refuseVectors } from '../inference/embeddings.js';
import type { Footprint } from '../inference/footprint.js';
import type { Operation, OperationEvent } from '../inference/operations.js';
import { isContent, type ChatEvent, type ChatRequest } from '../inference/types.js';
import { LinkedAbort } from '../util/linked-abort.js';
import { Admission, type Hold } from './admission.js';
import { untilIdle, untilRowFree } from './forecast.js';
import { MeasuredPace } from './measured-pace.js';
import { ModelSeat, type EngineModel, type Housing, type SeatOptions } from './model-seat.js';
import type { RunnerProcess } from './runner-process.js';
import type { SlotState } from './slot-state.js';

/** So long a request waits for a row and for memory. A coordinator gives up after 600 s without content
 *  (docs/protocol.md, limits), and loading and reading the prompt take their time too. */
export const OWNER_WAIT_MS = 300_000;
/** Others go elsewhere sooner. */
export const STRANGER_WAIT_MS = 60_000;

/** Prompts of one model that are counted, or wait for the model to be counted. */
const MAX_COUNTING = 64;
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

/** Gives a row back, or a place beside the rows. */
type Leave = () => void;

/** One model, for those who ask it: who runs, who waits, how fast it is. */
export class ModelSlot {
  readonly seat: ModelSeat;
  readonly #options: SeatOptions;
  readonly #refusal: () => DarkbloomError;
  readonly #admission: Admission;
  readonly #loads = new Set<Load>();
  readonly #pace = new MeasuredPace();
  /** Prompts that are counted beside the rows. */
  #counting = 0;

  /** `refusal`: why there is no room in memory now. */
  constructor(
    model: EngineModel,
    options: SeatOptions,
    { refusal, ...housing }: Omit<Housing, 'isIdle'> & { refusal: () => DarkbloomError },
  ) {
    this.#options = options;
    this.#refusal = refusal;
    const isIdle = () => this.#admission.running === 0 && this.#counting === 0;
    this.seat = new ModelSeat(model, options, { ...housing, isIdle });
    const retryAfterS = () => untilRowFree([...this.#loads], this.#pace);
    this.#admission = new Admission({ rows: options.rows, model: model.alias, retryAfterS });
  }

  get model(): EngineModel {
    return this.seat.model;
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
  generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const { owner = false } = request;
    const maxTokens = Math.min(request.maxTokens ?? Infinity, this.model.maxOutputTokens);
    const enter = (patience: AbortSignal) => this.#enterRow(owner, patience);
    return this.#serve<ChatEvent>(owner, signal, enter, (runner) =>
      runner === undefined ? nothingWritten() : this.#write(runner, { ...request, maxTokens }, signal),
    );
  }

  async *#write(
    runner: RunnerProcess,
    request: ChatRequest & { maxTokens: number },
    signal: AbortSignal,
  ): AsyncGenerator<ChatEvent> {
    const load: Load = { prompt: 0, written: 0, bound: request.maxTokens };
    this.#loads.add(load);
    try {
      for await (const event of runner.generate(request, signal, (timing) => this.#pace.learn(timing))) {
        if (event.type === 'started') load.prompt = event.promptTokens;
        else if (isContent(event)) load.written++;
        yield event;
      }
    } finally {
      this.#loads.delete(load);
    }
  }

  /** One operation. Vectors take a row as answers do; counting takes none: the runner does it between two steps. */
  operate(operation: Operation, signal: AbortSignal): AsyncGenerator<OperationEvent> {
    const { owner = false } = operation.request;
    const enter = (patience: AbortSignal) =>
      operation.op === 'count' ? this.#enterCounting() : this.#enterRow(owner, patience);
    return this.#serve<OperationEvent>(owner, signal, enter, (runner) => this.#work(runner, operation, signal));
  }

  async *#work(
    runner: RunnerProcess | undefined,
    operation: Operation,
    signal: AbortSignal,
  ): AsyncGenerator<OperationEvent> {
    if (runner === undefined) throw new DarkbloomError('cancelled', 'request cancelled');
    if (operation.op === 'embed') refuseVectors(operation.request, runner.facts.dimensions ?? 0, this.model.alias);
    yield { type: 'result', result: await runner.operate(operation, signal) };
  }

  /** The way of every request: into the line, from there to the model, and out again. What is done at the model is `work`,
   *  which gets no runner when the client left before. */
  async *#serve<Event>(
    owner: boolean,
    signal: AbortSignal,
    enter: (patience: AbortSignal) => Promise<Leave | undefined>,
    work: (runner: RunnerProcess | undefined) => AsyncIterable<Event>,
  ): AsyncGenerator<Event | { type: 'accepted' }> {
    let hasRow = false;
    using patience = new LinkedAbort(signal);
    using _limit = this.#limitWait(owner, patience, () => hasRow);
    const entering = enter(patience.signal);
    entering.catch(() => undefined); // told when the reader asks for the next event, which may be later
    try {
      yield { type: 'accepted' };
      hasRow = (await entering) !== undefined;
      const runner = hasRow ? await this.seat.runner(owner, patience.signal) : undefined;
      if (runner === undefined && !signal.aborted) patience.signal.throwIfAborted();
      yield* work(runner);
    } finally {
      patience.abort(new DarkbloomError('cancelled', 'request cancelled')); // a reader that left while it was in line
      const leave = await entering.catch(() => undefined);
      leave?.();
      this.seat.left();
    }
  }

  #enterRow(owner: boolean, signal: AbortSignal): Promise<Leave | undefined> {
    this.#admission.check(owner);
    return this.#admission.enter(owner, signal);
  }

  #enterCounting(): Promise<Leave> {
    if (this.#counting >= MAX_COUNTING) {
      const message = `queue full: ${MAX_COUNTING} prompts of ${this.model.alias} are being counted, the most that may.`;
      throw new DarkbloomError('over_capacity', message, { retryAfterS: 1 });
    }
    this.#counting++;
    return Promise.resolve(() => void this.#counting--);
  }

  /** Brings the model into memory.
   *  @throws DarkbloomError as `generate` does before the first text; the signal's reason. */
  async load(owner: boolean, signal: AbortSignal): Promise<void> {
    using patience = new LinkedAbort(signal);
    using _limit = this.#limitWait(owner, patience, () => true);
    const runner = await this.seat.runner(owner, patience.signal);
    if (runner === undefined) patience.signal.throwIfAborted();
  }

  /** Ends the wait for a row or for room when it was too long. Looks once: a load that has begun then is waited for. */
  #limitWait(owner: boolean, patience: LinkedAbort, hasRow: () => boolean): Disposable {
    const ms = owner ? OWNER_WAIT_MS : STRANGER_WAIT_MS;
    return this.#options.clock.after(ms, () => {
      if (!hasRow()) patience.abort(this.#noRowWithin(ms));
      else if (this.seat.state !== 'loading' && this.seat.state !== 'ready') patience.abort(this.#refusal());
    });
  }

  #noRowWithin(ms: number): DarkbloomError {
    const message = `None of the ${this.#options.rows} slots of ${this.model.alias} became free within ${ms / 1_000} s.`;
    return new DarkbloomError('over_capacity', message, { retryAfterS: untilRowFree([...this.#loads], this.#pace) });
  }

  /** Ends the runner, also in the middle of a load. */
  close(): Promise<void> {
    return this.seat.close();
  }

  snapshot(): SlotSnapshot {
    const { seat } = this;
    const loads = [...this.#loads];
    return {
      id: this.model.id,
      state: seat.state,
      running: this.#admission.running,
      waiting: this.#admission.waiting,
      rows: this.#options.rows,
      contextTokens: seat.contextTokens,
      activeTokens: loads.reduce((sum, load) => sum + load.prompt + load.written, 0),
      reservedTokens: loads.reduce((sum, load) => sum + Math.min(load.prompt + load.bound, seat.contextTokens), 0),
      decodeTps: this.#pace.tokensPerS,
      prefillTps: this.#pace.promptTokensPerS,
      loadMs: seat.loadMs,
      bytes: seat.bytes,
      isMeasured: seat.isMeasured,
      predicted: seat.predicted,
      pinned: seat.pinned,
      lastUsed: seat.lastUsed,
      unloadsAt: seat.unloadsAt,
    };
  }
}

async function* nothingWritten(): AsyncGenerator<ChatEvent> {
  yield await Promise.resolve({ type: 'cancelled', usage: { promptTokens: 0, completionTokens: 0 } });
}
