import type { FinishReason, TokenLogprob } from '../inference/types.js';
import { READ_AHEAD, type GenerateOrder } from '../runner-protocol/messages.js';
import { AnswerLogprobs } from './answer-logprobs.js';
import { StopMatcher, Utf8Stream } from './answer-text.js';
import type { Choice, Feed, Runtime, Sampler } from './llama-runtime.js';
import type { Row } from './rows.js';

/** How an answer ended. */
export interface Ending {
  finishReason: FinishReason;
  stopSequence: string | null;
}

/** What one token brought: text that may be shown, its tokens' probabilities if they were asked for, perhaps the end. */
interface Progress {
  text: string;
  logprobs?: TokenLogprob[];
  ending: Ending | undefined;
}

/** One request:  waiting (for a row) ──▶ reading (the prompt) ──▶ writing (the answer) ──▶ gone */
export class Sequence {
  readonly order: GenerateOrder;
  readonly prompt: readonly number[];
  readonly #runtime: Runtime;
  readonly #bound: number;
  readonly #utf8: Utf8Stream;
  readonly #stops: StopMatcher;
  readonly #logprobs = new AnswerLogprobs();
  #row: Row | undefined;
  #sampler: Sampler | undefined;
  /** Prompt tokens in the row. */
  #read = 0;
  /** The token that was chosen last. */
  #last: number | undefined;
  /** Prompt tokens that the row held before. */
  cachedTokens = 0;
  completionTokens = 0;
  /** The step in which it last got a share of the reading. */
  lastStep = 0;
  /** Messages of text that the reader has not acknowledged. */
  unread = 0;
  cancelled = false;
  readonly #startedAt = performance.now();
  #writingSince: number | undefined;

  constructor(order: GenerateOrder, prompt: readonly number[], runtime: Runtime) {
    this.order = order;
    this.prompt = prompt;
    const room = runtime.facts.contextTokens - prompt.length;
    this.#bound = Math.min(order.maxTokens ?? room, room);
    this.#runtime = runtime;
    this.#utf8 = new Utf8Stream((tokens, before) => runtime.detokenize(tokens, before));
    this.#stops = new StopMatcher(order.stop);
  }

  get id(): number {
    return this.order.id;
  }

  get row(): Row | undefined {
    return this.#row;
  }

  /** Prompt tokens that are still to be read. */
  get left(): number {
    return this.prompt.length - this.#read;
  }

  get reading(): boolean {
    return this.#row !== undefined && this.left > 0;
  }

  /** The answer goes on with the next step, unless its reader is behind. */
  get writing(): boolean {
    return this.#last !== undefined && this.unread < READ_AHEAD;
  }

  get promptMs(): number {
    return (this.#writingSince ?? performance.now()) - this.#startedAt;
  }

  get outputMs(): number {
    return performance.now() - (this.#writingSince ?? performance.now());
  }

  sampleWith(sampler: Sampler): void {
    this.#sampler = sampler;
  }

  begin(row: Row, reused: number): void {
    this.#row = row;
    this.#read = this.cachedTokens = reused;
  }

  moveTo(row: Row): void {
    this.#row = row;
  }

  /** What the next step adds to its row: a chunk of the prompt, or the last token of the answer. */
  feed(chunk: number): Feed | undefined {
    if (this.#row === undefined) return undefined;
    const { id: row, tokens: held } = this.#row;
    const tokens = this.#last === undefined ? this.prompt.slice(this.#read, this.#read + chunk) : [this.#last];
    const reachesEnd = this.#last !== undefined || tokens.length === this.left;
    const alone = this.order.sampling.seed !== undefined; // whoever gives a seed wants the same text again
    return { row, position: held.length, tokens, sampler: reachesEnd ? this.#sampler : undefined, alone };
  }

  /** A step added this to the row. */
  fed({ tokens }: Feed, step: number): void {
    if (!this.reading) return;
    this.#read += tokens.length;
    this.lastStep = step;
  }

  /** One more token of the answer. */
  take({ token, logprob }: Choice): Progress {
    this.#writingSince ??= performance.now();
    this.#last = token;
    const progress = this.#progress(token, logprob);
    return logprob === undefined ? progress : { ...progress, logprobs: this.#logprobs.show(progress.text) };
  }

  #progress(token: number, logprob: TokenLogprob | undefined): Progress {
    if (this.#runtime.isEnd(token)) return this.#endOf('stop', '');
    this.completionTokens++;
    const produced = this.#utf8.push(token);
    if (logprob !== undefined) this.#logprobs.push(logprob, produced);
    const { text, stop } = this.#stops.push(produced);
    if (stop !== null) return { text, ending: { finishReason: 'stop', stopSequence: stop } };
    return this.completionTokens < this.#bound ? { text, ending: undefined } : this.#endOf('length', text);
  }

  #endOf(finishReason: FinishReason, text: string): Progress {
    const rest = this.#stops.push(this.#utf8.flush());
    if (rest.stop !== null)
      return { text: text + rest.text, ending: { finishReason: 'stop', stopSequence: rest.stop } };
    return { text: text + rest.text + this.#stops.flush(), ending: { finishReason, stopSequence: null } };
  }

  dispose(): void {
    this.#sampler?.dispose();
  }
}
