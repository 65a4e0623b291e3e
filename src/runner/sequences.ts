import { randomInt } from 'node:crypto';
import { DarkbloomError, toFailure } from '../errors.js';
import { PromptTemplate, type Prompt } from '../inference/prompt.js';
import type { ChatMessage, ContentEvent } from '../inference/types.js';
import {
  FailureCode,
  type CountOrder,
  type GenerateOrder,
  type LoadOrder,
  type RequestMessage,
} from '../runner-protocol/messages.js';
import type { Choice, Feed, Runtime } from './runtime.js';
import { CheckpointedRows } from './checkpointed-rows.js';
import { Checkpoints } from './checkpoints.js';
import { Outbox } from './outbox.js';
import { commonLength } from './prefix-index.js';
import { PrefixStore } from './prefix-store.js';
import type { RowKeeper } from './row.js';
import { Rows } from './rows.js';
import { Sequence, type Ending } from './sequence.js';
import { readingShares } from './step-plan.js';

/** Steps for which a gap between rows is left open: where others wait for a row, the next one fills it without a move,
 *  which copies all that a row has room for. */
const GAP_STEPS = 1;
/** So many steps it is left open after a move failed. */
const FAILED_MOVE_STEPS = 256;
/** A beginning in common with a prompt that is being read is waited for from so many tokens on. */
const WORTH_WAITING_TOKENS = 128;

/**
 * All requests of one context, stepped by one loop. Each step is one batch: a token for every row that writes and a
 * bounded share of the prompts, in ascending order of rows. Nothing outside is awaited in a step: what there is to tell
 * leaves through `send` at its end, and a row whose reader is behind stands still.
 */
export class Sequences {
  readonly #runtime: Runtime;
  readonly #template: PromptTemplate;
  readonly #rows: RowKeeper;
  readonly #outbox: Outbox;
  /** Requests whose prompt is being tokenized. */
  readonly #preparing = new Map<number, { cancelled: boolean }>();
  /** In order of arrival. */
  readonly #active = new Map<number, Sequence>();
  #steps = 0;
  #gapSteps = 0;
  #looping = false;
  #news = false;
  #wake: (() => void) | undefined;

  constructor(runtime: Runtime, prefixMemory: LoadOrder['prefixMemory'], send: (messages: RequestMessage[]) => void) {
    this.#runtime = runtime;
    this.#rows = runtime.cutsAnywhere
      ? new Rows(runtime, new PrefixStore(prefixMemory))
      : new CheckpointedRows(runtime, new Checkpoints(prefixMemory));
    this.#outbox = new Outbox({ send, computesOnAllCores: runtime.computesOnAllCores });
    this.#template = new PromptTemplate(runtime.template, runtime.controlTokens);
  }

  /** Starts a request; refuses it with `failed`. */
  start(order: GenerateOrder): void {
    this.#preparing.set(order.id, { cancelled: false });
    void this.#prepare(order);
  }

  /** A long prompt is tokenized with pauses in which the loop goes on; a short one at once. */
  async #prepare(order: GenerateOrder): Promise<void> {
    try {
      const prompting = this.#promptAndHead(order);
      let state = prompting.next();
      while (state.done !== true) {
        if (state.value >= this.#runtime.facts.contextTokens) throw this.#tooLong(state.value, 'at least ');
        await pause();
        if (this.#preparing.get(order.id)?.cancelled === true) throw cancelled();
        state = prompting.next();
      }
      const { tokens: prompt, ...answer } = state.value;
      if (prompt.length >= this.#runtime.facts.contextTokens) throw this.#tooLong(prompt.length);
      const { syntax } = this.#template;
      this.#active.set(order.id, new Sequence(order, prompt, { syntax, ...answer }, this.#runtime));
    } catch (error) {
      const counts = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
      this.#outbox.put({ type: 'failed', id: order.id, ...failureOf(error), ...counts });
      this.#outbox.send();
      return;
    } finally {
      this.#preparing.delete(order.id);
    }
    this.#hear();
    if (!this.#looping) void this.#run();
  }

  /** How many tokens the prompt of such a request has, also of one that just does not fit. It is counted to its end.
   *  @throws DarkbloomError, rejecting: `context_length_exceeded` for one that cannot fit whatever its tokens are. */
  async count(order: CountOrder): Promise<number> {
    const tokenizing = this.#promptOf(order);
    let state = tokenizing.next();
    while (state.done !== true) {
      await pause();
      state = tokenizing.next();
    }
    return state.value.tokens.length;
  }

  /** Yields how many tokens there are where a pause is due. */
  *#promptOf(order: Omit<GenerateOrder, 'type'>): Generator<number, Omit<Prompt, 'runs'> & { tokens: number[] }> {
    this.#refuseHopeless(order.messages);
    const { runs, ...answer } = this.#template.render(order);
    return { ...answer, tokens: yield* this.#runtime.tokenizePrompt(runs) };
  }

  /** Where a conversation with the same instructions and tools would part from this one: rendered with another question.
   *  Asked only where a row cannot be cut there later. */
  *#promptAndHead(
    order: GenerateOrder,
  ): Generator<number, Omit<Prompt, 'runs'> & { tokens: number[]; headTokens: number }> {
    const prompt = yield* this.#promptOf(order);
    const first = order.messages.findIndex(({ role }) => role !== 'system');
    const unknown = this.#runtime.cutsAnywhere || order.cacheScope === undefined || first < 0;
    if (unknown || prompt.tokens.length >= this.#runtime.facts.contextTokens) return { ...prompt, headTokens: 0 };
    const content = order.messages[first]?.content.trimStart().startsWith('1') === true ? '2' : '1';
    const messages: ChatMessage[] = [...order.messages.slice(0, first), { role: 'user', content }];
    try {
      const other = yield* this.#promptOf({ ...order, messages });
      return { ...prompt, headTokens: commonLength(prompt.tokens, other.tokens) };
    } catch {
      return { ...prompt, headTokens: 0 }; // the template takes no such conversation: nobody will have it
    }
  }

  /** The reader took `messages` of this request. */
  acknowledge(id: number, messages: number): void {
    const sequence = this.#active.get(id);
    if (sequence === undefined) return;
    sequence.unread -= messages;
    this.#hear();
  }

  /** The request ends with the next step. Unknown ids are ignored. */
  cancel(id: number): void {
    const preparing = this.#preparing.get(id);
    if (preparing !== undefined) preparing.cancelled = true;
    const sequence = this.#active.get(id);
    if (sequence === undefined) return;
    sequence.cancelled = true;
    this.#hear();
  }

  /** A prompt that cannot fit whatever its tokens are is not begun. */
  #refuseHopeless(messages: readonly ChatMessage[]): void {
    const bytes = messages.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
    const atLeast = Math.ceil(bytes / this.#runtime.longestTokenBytes);
    if (atLeast >= this.#runtime.facts.contextTokens) throw this.#tooLong(atLeast, 'at least ');
  }

  #tooLong(tokens: number, atLeast = ''): DarkbloomError {
    return new DarkbloomError(
      'context_length_exceeded',
      `The prompt has ${atLeast}${tokens} tokens and exceeds the context length of ` +
        `${this.#runtime.facts.contextTokens} tokens.`,
      { param: 'messages' },
    );
  }

  async #run(): Promise<void> {
    this.#looping = true;
    while (this.#active.size > 0) {
      try {
        await this.#turn();
      } catch (error) {
        for (const sequence of this.#active.values()) this.#fail(sequence, error, true);
        this.#outbox.send();
      }
    }
    this.#looping = false; // in the same turn as the look at the map: whoever starts next starts the loop
  }

  async #turn(): Promise<void> {
    this.#news = false;
    this.#endCancelled();
    await this.#claimRows();
    await this.#closeGaps();
    const batch = this.#nextBatch();
    const rests = batch.length === 0;
    if (rests) this.#outbox.beforeRest();
    else await this.#step(batch);
    await this.#rows.keepMarked();
    if (rests && this.#active.size > 0 && !this.#news) await this.#untilNews();
  }

  /** Their ends are told at once: whoever waits for a row does not wait for the next step as well. */
  #endCancelled(): void {
    const left = [...this.#active.values()].filter((sequence) => sequence.cancelled);
    for (const sequence of left) this.#fail(sequence, cancelled());
    if (left.length > 0) this.#outbox.send();
  }

  async #claimRows(): Promise<void> {
    for (const sequence of this.#active.values()) {
      if (sequence.row !== undefined || this.#waitsForAnother(sequence)) continue;
      const { order, prompt, headTokens } = sequence;
      try {
        const seed = (order.sampling.seed ?? randomInt(2 ** 32 - 1)) >>> 0; // the runtime's seeds have 32 bits
        sequence.sampleWith(this.#runtime.createSampler({ ...order, grammar: sequence.firstGrammar }, seed));
        const { row, reused } = await this.#rows.claim({ prompt, scope: order.cacheScope, headTokens });
        sequence.begin(row, reused, this.#steps);
        this.#outbox.put({ type: 'started', id: order.id, promptTokens: prompt.length, cachedTokens: reused });
      } catch (error) {
        this.#fail(sequence, error);
      }
    }
  }

  /** Someone is reading what this prompt begins with, and there is less of it anywhere yet: it will be copied. */
  #waitsForAnother({ prompt, order: { cacheScope: scope } }: Sequence): boolean {
    if (scope === undefined || !this.#runtime.cutsAnywhere) return false;
    const expected = [...this.#active.values()]
      .filter((other) => other.reading && other.order.cacheScope === scope)
      .map((other) => Math.min(commonLength(other.prompt, prompt), prompt.length - 1));
    const most = Math.max(0, ...expected);
    return most >= WORTH_WAITING_TOKENS && most > this.#rows.reusable(prompt, scope);
  }

  async #closeGaps(): Promise<void> {
    this.#gapSteps = this.#rows.hasGap ? this.#gapSteps + 1 : 0;
    while (this.#rows.hasGap && this.#gapSteps > GAP_STEPS) {
      const move = await this.#rows.compact().catch(() => undefined); // a gap makes steps slower, nothing worse
      if (move === undefined) this.#gapSteps = -FAILED_MOVE_STEPS;
      else for (const sequence of this.#active.values()) if (sequence.row === move.from) sequence.moveTo(move.to);
    }
  }

  #nextBatch(): Work[] {
    const sequences = [...this.#active.values()];
    const writing = sequences.filter((sequence) => sequence.writing);
    const reading = sequences.filter((sequence) => sequence.reading);
    const shares = readingShares(reading, writing.length > 0);
    const batch: Work[] = [];
    for (const sequence of [...writing, ...reading]) {
      const feed = sequence.feed(shares.get(sequence.id) ?? 0);
      if (feed !== undefined && feed.tokens.length > 0) batch.push({ sequence, feed });
    }
    return batch.sort((a, b) => a.feed.row - b.feed.row);
  }

  async #step(batch: readonly Work[]): Promise<void> {
    this.#steps++;
    if (batch.some(({ feed }) => feed.tokens.length > 1)) this.#outbox.beforeReading();
    try {
      const feeds = batch.map(({ feed }) => feed);
      const chosen = await this.#runtime.step(feeds, () => this.#outbox.threadsRest());
      batch.forEach(({ sequence, feed }, index) => this.#took(sequence, feed, chosen[index]));
    } catch (error) {
      for (const { sequence } of batch) this.#fail(sequence, error, true);
    }
    this.#outbox.stepDone();
  }

  #took(sequence: Sequence, feed: Feed, chosen: Choice | Error | undefined): void {
    sequence.fed(feed, this.#steps);
    if (sequence.row !== undefined) this.#rows.grow(sequence.row, feed.tokens);
    if (chosen === undefined || sequence.cancelled) return; // the loop ends it first thing; the token is not counted
    if (chosen instanceof Error) return this.#fail(sequence, chosen);
    try {
      const { events, ending } = sequence.take(chosen);
      for (const event of events) {
        sequence.unread++;
        const message = messageOf(sequence.id, event);
        if (sequence.completionTokens > 1) this.#outbox.putMore(message);
        else this.#outbox.put(message);
      }
      if (ending !== undefined) this.#finish(sequence, ending);
    } catch (error) {
      this.#fail(sequence, error); // a grammar that does not compile is this request's trouble alone
    }
  }

  #finish(sequence: Sequence, ending: Ending): void {
    const { promptMs, outputMs } = sequence;
    this.#release(sequence, false);
    this.#outbox.put({
      type: 'done',
      id: sequence.id,
      ...ending,
      ...countsOf(sequence),
      reasoningTokens: sequence.reasoningTokens,
      promptMs,
      outputMs,
    });
  }

  #fail(sequence: Sequence, error: unknown, rowBroken = false): void {
    try {
      this.#release(sequence, rowBroken);
    } finally {
      this.#outbox.put({ type: 'failed', id: sequence.id, ...failureOf(error), ...countsOf(sequence) });
    }
  }

  /** The row is free before anyone hears of the end. */
  #release(sequence: Sequence, rowBroken: boolean): void {
    this.#active.delete(sequence.id);
    sequence.dispose();
    if (sequence.row !== undefined) this.#rows.release(sequence.row, rowBroken);
  }

  #hear(): void {
    this.#news = true;
    this.#wake?.();
  }

  async #untilNews(): Promise<void> {
    await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wake = undefined;
  }
}

/** A sequence's part of a batch. */
interface Work {
  sequence: Sequence;
  feed: Feed;
}

function messageOf(id: number, event: ContentEvent): RequestMessage {
  return event.type === 'tool_call' ? { ...event, id, callId: event.id } : { ...event, id };
}

/** The loop goes on, and messages come in. */
function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function cancelled(): DarkbloomError {
  return new DarkbloomError('cancelled', 'request cancelled');
}

function countsOf({ prompt, cachedTokens, completionTokens }: Sequence) {
  return { promptTokens: prompt.length, cachedTokens, completionTokens };
}

/** What the engine is told of a failure. */
export function failureOf(
  error: unknown,
): Pick<Extract<RequestMessage, { type: 'failed' }>, 'code' | 'message' | 'param'> {
  const { code, message, param } = toFailure(error);
  const told = FailureCode.exclude(['internal']).safeParse(code).data;
  if (told !== undefined) return { code: told, message, param };
  return { code: 'internal', message: error instanceof Error ? error.message : 'unknown' };
}
