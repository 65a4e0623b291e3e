import { randomInt } from 'node:crypto';
import { DarkbloomError, toFailure } from '../errors.js';
import { PromptTemplate } from '../inference/prompt.js';
import type { ChatMessage, FinishReason, Role } from '../inference/types.js';
import { READ_AHEAD, type GenerateOrder, type RunnerMessage } from '../runner-protocol/messages.js';
import { StopMatcher, Utf8Stream } from './answer-text.js';
import type { Row, Runtime } from './llama-runtime.js';

/** Prompt tokens that one step may add: no abort and no other stream waits longer than for one such chunk. */
const PREFILL_CHUNK_TOKENS = 256;

/** One request on its row.  reading (the prompt) ──▶ writing (the answer) ──▶ gone */
interface Sequence {
  readonly order: GenerateOrder;
  readonly row: Row;
  readonly prompt: readonly number[];
  /** Prompt tokens already in the KV cache. */
  read: number;
  /** Exists once the prompt is read. */
  tokens: AsyncGenerator<number, void> | undefined;
  readonly answered: number[];
  readonly bound: number;
  readonly utf8: Utf8Stream;
  readonly stops: StopMatcher;
  /** Messages the reader has not acknowledged. */
  unread: number;
  cancelled: boolean;
  readonly startedAt: number;
  writingSince: number;
}

/**
 * All requests of one context. One loop steps every writing row together, in ascending order, so that each step is one
 * batch of the runtime; one chunk of one prompt rides along. Nothing outside is awaited inside a step: text leaves
 * through `send`, and a row whose reader is behind stands still.
 */
export class Sequences {
  readonly #runtime: Runtime;
  readonly #template: PromptTemplate;
  readonly #send: (message: RunnerMessage) => void;
  readonly #free: Row[];
  readonly #active = new Map<number, Sequence>();
  #lastRead = -1;
  #looping = false;
  #wake: (() => void) | undefined;

  constructor(runtime: Runtime, send: (message: RunnerMessage) => void) {
    this.#runtime = runtime;
    this.#send = send;
    this.#free = [...runtime.rows];
    this.#template = new PromptTemplate(runtime.template);
  }

  /** Starts a request on the lowest free row; refuses it with `failed`. */
  start(order: GenerateOrder): void {
    try {
      const sequence = this.#admit(order);
      this.#active.set(order.id, sequence);
      this.#send({ type: 'started', id: order.id, promptTokens: sequence.prompt.length });
      this.#wake?.();
      if (!this.#looping) void this.#run();
    } catch (error) {
      this.#send({ type: 'failed', id: order.id, ...failureOf(error), completionTokens: 0, promptTokens: 0 });
    }
  }

  /** The reader took `messages` of this request. */
  acknowledge(id: number, messages: number): void {
    const sequence = this.#active.get(id);
    if (sequence === undefined) return;
    sequence.unread -= messages;
    this.#wake?.();
  }

  /** The request ends with the next step. Unknown ids are ignored. */
  cancel(id: number): void {
    const sequence = this.#active.get(id);
    if (sequence === undefined) return;
    sequence.cancelled = true;
    this.#wake?.();
  }

  #admit(order: GenerateOrder): Sequence {
    const messages = order.messages.map(({ role, content }) => ({ role: role as Role, content }));
    this.#refuseHopeless(messages);
    const prompt = this.#runtime.tokenizePrompt(this.#template.render(messages, this.#runtime.controlTokens));
    const { contextTokens } = this.#runtime.facts;
    const room = contextTokens - prompt.length;
    if (room < 1) {
      throw new DarkbloomError(
        'context_length_exceeded',
        `The prompt has ${prompt.length} tokens and exceeds the context length of ${contextTokens} tokens.`,
        { param: 'messages' },
      );
    }
    const row = this.#free.sort((a, b) => a.id - b.id).shift();
    if (row === undefined) throw new Error('The engine sent more requests than there are rows.');
    return {
      order,
      row,
      prompt,
      read: 0,
      tokens: undefined,
      answered: [],
      bound: Math.min(order.maxTokens ?? room, room),
      utf8: new Utf8Stream((tokens, before) => this.#runtime.detokenize(tokens, before)),
      stops: new StopMatcher(order.stop),
      unread: 0,
      cancelled: false,
      startedAt: performance.now(),
      writingSince: 0,
    };
  }

  /** Tokenizing takes time in which no row is stepped: a prompt that cannot fit whatever its tokens are is not begun. */
  #refuseHopeless(messages: readonly ChatMessage[]): void {
    const bytes = messages.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
    const atLeast = Math.ceil(bytes / this.#runtime.longestTokenBytes);
    const { contextTokens } = this.#runtime.facts;
    if (atLeast < contextTokens) return;
    throw new DarkbloomError(
      'context_length_exceeded',
      `The prompt has at least ${atLeast} tokens and exceeds the context length of ${contextTokens} tokens.`,
      { param: 'messages' },
    );
  }

  async #run(): Promise<void> {
    this.#looping = true;
    while (this.#active.size > 0) {
      const sequences = [...this.#active.values()].sort((a, b) => a.row.id - b.row.id);
      const cancelled = sequences.filter((sequence) => sequence.cancelled);
      for (const sequence of cancelled)
        await this.#fail(sequence, new DarkbloomError('cancelled', 'request cancelled'));
      if (cancelled.length > 0) continue;

      const writing = sequences.filter(({ tokens, unread }) => tokens !== undefined && unread < READ_AHEAD);
      const reading = this.#nextToRead(sequences);
      if (writing.length === 0 && reading === undefined) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
        continue;
      }
      const steps = writing.map((sequence) => this.#write(sequence));
      if (reading !== undefined) steps.push(this.#read(reading));
      const endings = await Promise.all(steps);
      for (const ending of endings) await ending?.();
    }
    this.#looping = false; // in the same turn as the look at the map: whoever starts next starts the loop
  }

  /** Prompts take turns, one chunk each. */
  #nextToRead(sequences: readonly Sequence[]): Sequence | undefined {
    const reading = sequences.filter(({ tokens }) => tokens === undefined);
    const next = reading.find(({ row }) => row.id > this.#lastRead) ?? reading[0];
    if (next !== undefined) this.#lastRead = next.row.id;
    return next;
  }

  /** One chunk of the prompt. The last token is left for the first step of writing. */
  async #read(sequence: Sequence): Promise<Ending> {
    const { prompt, read, row, order, answered } = sequence;
    const last = prompt.length - 1;
    try {
      const chunk = prompt.slice(read, Math.min(read + PREFILL_CHUNK_TOKENS, last));
      if (chunk.length > 0) await row.prefill(chunk);
      sequence.read += chunk.length;
      if (sequence.read === last) {
        sequence.writingSince = performance.now();
        const seed = (order.sampling.seed ?? randomInt(2 ** 32 - 1)) >>> 0; // the runtime's seeds have 32 bits
        sequence.tokens = row.generate(prompt[last] ?? 0, { options: order.sampling, seed, answered: () => answered });
      }
      return undefined;
    } catch (error) {
      return () => this.#fail(sequence, error);
    }
  }

  /** One token of the answer. */
  async #write(sequence: Sequence): Promise<Ending> {
    try {
      const next = await sequence.tokens?.next();
      const token = next?.value;
      if (sequence.cancelled) return undefined; // the loop ends it first thing; the token is not counted
      if (token === undefined) throw new Error('The runtime ended the sequence by itself.');
      if (this.#runtime.isEnd(token)) return () => this.#finish(sequence, 'stop', null);
      sequence.answered.push(token);
      const { text, stop } = sequence.stops.push(sequence.utf8.push(token));
      this.#say(sequence, text);
      if (stop !== null) return () => this.#finish(sequence, 'stop', stop);
      if (sequence.answered.length >= sequence.bound) return () => this.#finish(sequence, 'length', null);
      return undefined;
    } catch (error) {
      return () => this.#fail(sequence, error);
    }
  }

  #say(sequence: Sequence, text: string): void {
    if (text === '') return;
    sequence.unread++;
    this.#send({ type: 'text', id: sequence.order.id, text });
  }

  async #finish(sequence: Sequence, finishReason: FinishReason, stopSequence: string | null): Promise<void> {
    if (stopSequence === null) {
      const rest = sequence.stops.push(sequence.utf8.flush());
      this.#say(sequence, rest.text + (rest.stop === null ? sequence.stops.flush() : ''));
      stopSequence = rest.stop;
    }
    const end = performance.now();
    await this.#release(sequence);
    this.#send({
      type: 'done',
      id: sequence.order.id,
      finishReason: stopSequence === null ? finishReason : 'stop',
      stopSequence,
      promptTokens: sequence.prompt.length,
      completionTokens: sequence.answered.length,
      promptMs: sequence.writingSince - sequence.startedAt,
      outputMs: end - sequence.writingSince,
    });
  }

  async #fail(sequence: Sequence, error: unknown): Promise<void> {
    await this.#release(sequence);
    const { order, answered, prompt } = sequence;
    const counts = { completionTokens: answered.length, promptTokens: prompt.length };
    this.#send({ type: 'failed', id: order.id, ...failureOf(error), ...counts });
  }

  /** The row forgets the conversation and is free before anyone hears of the end. */
  async #release(sequence: Sequence): Promise<void> {
    this.#active.delete(sequence.order.id);
    await sequence.tokens?.return();
    await sequence.row.clear();
    this.#free.push(sequence.row);
  }
}

/** What to do with a sequence after the step in which it ended. */
type Ending = (() => Promise<void>) | undefined;

function failureOf(error: unknown): Pick<Extract<RunnerMessage, { type: 'failed' }>, 'code' | 'message'> {
  const { code, message } = toFailure(error);
  if (code === 'context_length_exceeded' || code === 'cancelled' || code === 'invalid_request')
    return { code, message };
  return { code: 'internal', message: error instanceof Error ? error.message : 'unknown' };
}
