import { randomInt } from 'node:crypto';
import type { LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';
import { Admission } from '../src/engine/admission.js';
import { openModel } from '../src/runner/llama-model.js';
import { Mailbox } from '../src/util/mailbox.js';
import { SAMPLING, type ModelOrder, type Target, type TargetEvent, type TargetRequest } from './target.js';

const BATCH_TOKENS = 512;

interface Stream {
  row: number;
  tokens: AsyncGenerator<Token, void | Token>;
  events: Mailbox<TargetEvent>;
  promptTokens: number;
  written: number;
  bound: number;
  left: boolean;
}

/**
 * The runtime's own limit in this language: node-llama-cpp stepped by the barest loop that makes one batch of all rows.
 * No template but ChatML, no text, no stop strings, no fairness, no back-pressure: what is slower than this, we added.
 */
export class RawTarget implements Target {
  readonly #model: LlamaModel;
  readonly #rows: readonly LlamaContextSequence[];
  readonly #free: number[];
  readonly #admission: Admission;
  readonly #close: () => Promise<void>;
  readonly #active = new Set<Stream>();
  #looping = false;

  private constructor(model: LlamaModel, rows: readonly LlamaContextSequence[], close: () => Promise<void>) {
    this.#model = model;
    this.#rows = rows;
    this.#free = rows.map((_, row) => row);
    this.#admission = new Admission({ rows: rows.length, model: 'raw', retryAfterS: () => 1 });
    this.#close = close;
  }

  static async start({ path, rows, contextTokens, threads }: ModelOrder): Promise<RawTarget> {
    const order = { type: 'load', modelPath: path, rows, contextTokens, threads } as const;
    const { llama, model } = await openModel(order, () => undefined);
    const context = await model.createContext({
      sequences: rows,
      contextSize: contextTokens,
      batchSize: BATCH_TOKENS,
      threads,
    });
    const sequences = Array.from({ length: rows }, () => context.getSequence());
    return new RawTarget(model, sequences, () => llama.dispose());
  }

  async *ask({ prompt, maxTokens }: TargetRequest, signal: AbortSignal): AsyncGenerator<TargetEvent> {
    const leave = await this.#admission.enter(true, signal);
    if (leave === undefined) return;
    const row = this.#free.sort((a, b) => a - b).shift();
    const sequence = row === undefined ? undefined : this.#rows[row];
    if (row === undefined || sequence === undefined) throw new Error('There is no free row.');
    const tokens = this.#model.tokenize(
      `<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`,
      true,
      'trimLeadingSpace',
    );
    const stream: Stream = {
      row,
      tokens: sequence.evaluate(tokens, { ...SAMPLING, seed: randomInt(2 ** 31), yieldEogToken: true }),
      events: new Mailbox(maxTokens + 1),
      promptTokens: tokens.length,
      written: 0,
      bound: maxTokens,
      left: false,
    };
    signal.addEventListener('abort', () => (stream.left = true), { once: true });
    try {
      await this.#step(stream); // reads the prompt beside the loop; then it joins
      if (this.#goesOn(stream)) this.#active.add(stream);
      if (!this.#looping) void this.#run();
      yield* stream.events;
      await stream.tokens.return();
    } finally {
      this.#active.delete(stream);
      await sequence.clearHistory();
      this.#free.push(row);
      leave();
    }
  }

  async #run(): Promise<void> {
    this.#looping = true;
    while (this.#active.size > 0) {
      const streams = [...this.#active].sort((a, b) => a.row - b.row);
      await Promise.all(streams.map((stream) => this.#step(stream)));
      for (const stream of streams) if (!this.#goesOn(stream)) this.#active.delete(stream);
    }
    this.#looping = false;
  }

  async #step(stream: Stream): Promise<void> {
    try {
      await stream.tokens.next();
      stream.written++;
      stream.events.put({ type: 'text' });
    } catch (error) {
      stream.events.fail(error);
    }
  }

  #goesOn({ left, written, bound, promptTokens, events }: Stream): boolean {
    if (events.ended) return false;
    if (!left && written < bound) return true;
    if (!left) events.put({ type: 'end', promptTokens, completionTokens: written });
    events.end();
    return false;
  }

  async close(): Promise<void> {
    await this.#close();
  }
}
