import { randomBytes } from 'node:crypto';
import type { Prompt } from '../inference/prompt.js';
import { AnswerReader } from '../inference/syntax/answer-reader.js';
import { heldTo, restOfCall } from '../inference/syntax/held-to.js';
import type { Syntax } from '../inference/syntax/syntax.js';
import { offeredTools, type ContentEvent, type FinishReason } from '../inference/types.js';
import { READ_AHEAD, type GenerateOrder } from '../runner-protocol/messages.js';
import { AnswerLogprobs } from './answer-logprobs.js';
import { StopMatcher, Utf8Stream } from './answer-text.js';
import type { Choice, Feed, Runtime, Sampler } from './runtime.js';
import type { Row } from './row.js';

/** What one token brought. */
interface Taken {
  events: ContentEvent[];
  ending: Ending | undefined;
}

/** How an answer ended. */
export interface Ending {
  finishReason: FinishReason;
  stopSequence: string | null;
}

/** Letters of a call's id; with `call_` in front it looks as OpenAI's do. */
const CALL_ID_BYTES = 12;

/** One request:  waiting (for a row) ──▶ reading (the prompt) ──▶ writing (the answer) ──▶ gone */
export class Sequence {
  readonly order: GenerateOrder;
  readonly prompt: readonly number[];
  /** Tokens at the prompt's beginning that other conversations will begin with as well; 0: not known. */
  readonly headTokens: number;
  readonly #runtime: Runtime;
  readonly #bound: number;
  readonly #utf8: Utf8Stream;
  readonly #stops: StopMatcher;
  readonly #logprobs = new AnswerLogprobs();
  readonly #syntax: Syntax;
  readonly #marks: ReadonlySet<string>;
  /** The grammar of the answer behind its thoughts; absent: any answer. */
  readonly #grammar: string | undefined;
  readonly #thinksFirst: boolean;
  /** A call is under way, and the sampler held to the rest of it. */
  #heldToCall = false;
  readonly #reader: AnswerReader;
  #row: Row | undefined;
  #sampler: Sampler | undefined;
  /** Prompt tokens in the row. */
  #read = 0;
  /** The token that was chosen last. */
  #last: number | undefined;
  /** Prompt tokens that the row held before. */
  cachedTokens = 0;
  completionTokens = 0;
  /** Of those, tokens of reasoning. */
  reasoningTokens = 0;
  /** The step in which it last got a share of the reading, or its row. */
  lastStep = 0;
  /** Messages of text that the reader has not acknowledged. */
  unread = 0;
  cancelled = false;
  #readingSince: number | undefined;
  #writingSince: number | undefined;

  /** @throws DarkbloomError `unprocessable` when the answer is to be what no grammar can say. */
  constructor(
    order: GenerateOrder,
    prompt: readonly number[],
    {
      headTokens,
      syntax,
      begins,
      mayThink,
    }: Pick<Prompt, 'begins' | 'mayThink'> & { headTokens: number; syntax: Syntax },
    runtime: Runtime,
  ) {
    this.order = order;
    this.prompt = prompt;
    this.headTokens = headTokens;
    const room = runtime.facts.contextTokens - prompt.length;
    this.#bound = Math.min(order.maxTokens ?? room, room);
    this.#runtime = runtime;
    this.#utf8 = new Utf8Stream(
      (tokens, before) => runtime.detokenize(tokens, before),
      (token) => runtime.bytesOf(token),
    );
    this.#stops = new StopMatcher(order.stop);
    this.#syntax = syntax;
    this.#marks = new Set(syntax.marks);
    this.#thinksFirst = begins === 'reasoning';
    this.#grammar = heldTo(order, syntax, { begins, mayThink });
    this.#reader = new AnswerReader(syntax, {
      tools: offeredTools(order),
      parallel: order.parallelToolCalls,
      begins,
      newCallId: () => `call_${randomBytes(CALL_ID_BYTES).toString('hex')}`,
    });
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

  /** Its prompt is cut and computed the same way whatever else runs: whoever gives a seed wants the same text again. */
  get alone(): boolean {
    return this.order.sampling.seed !== undefined;
  }

  /** Without the wait for a row, for a turn or for what another is reading. */
  get promptMs(): number {
    const until = this.#writingSince ?? performance.now();
    return until - (this.#readingSince ?? until);
  }

  get outputMs(): number {
    return performance.now() - (this.#writingSince ?? performance.now());
  }

  /** What the answer's first token is held to. */
  get firstGrammar(): string | undefined {
    return this.#thinksFirst ? undefined : this.#grammar;
  }

  sampleWith(sampler: Sampler): void {
    this.#sampler = sampler;
  }

  begin(row: Row, reused: number, step: number): void {
    this.#row = row;
    this.#read = this.cachedTokens = reused;
    this.lastStep = step;
  }

  moveTo(row: Row): void {
    this.#row = row;
  }

  /** What the next step adds to its row: a chunk of the prompt, or the last token of the answer. */
  feed(chunk: number): Feed | undefined {
    if (this.#row === undefined) return undefined;
    const { id: row, tokens: held, marks } = this.#row;
    const most = Math.min(chunk, (marks[0] ?? Infinity) - held.length);
    const tokens = this.#last === undefined ? this.prompt.slice(this.#read, this.#read + most) : [this.#last];
    if (tokens.length > 0) this.#readingSince ??= performance.now();
    const reachesEnd = this.#last !== undefined || tokens.length === this.left;
    const sampler = reachesEnd ? this.#sampler : undefined;
    return { row, position: held.length, tokens, sampler, alone: this.alone };
  }

  /** A step added this to the row. */
  fed({ tokens }: Feed, step: number): void {
    if (!this.reading) return;
    this.#read += tokens.length;
    this.lastStep = step;
  }

  /** One more token of the answer: what it shows, and whether it ended the answer. */
  take({ token, logprob }: Choice): Taken {
    this.#writingSince ??= performance.now();
    this.#last = token;
    if (this.#runtime.isEnd(token)) return this.#endOf('stop', []);
    this.completionTokens++;
    const thought = this.#reader.mode === 'reasoning';
    const piece = this.#textOf(token);
    const read = this.#reader.push(piece);
    const thinks = this.#reader.mode === 'reasoning';
    if (thought || thinks) this.reasoningTokens++;
    // probabilities are told of the text's tokens alone
    if (logprob !== undefined && !(thought && thinks)) this.#logprobs.push(logprob, piece);
    const { events, stop } = this.#untilStop(read);
    if (stop !== null) return { events, ending: { finishReason: 'stop', stopSequence: stop } };
    if (this.#reader.over) return this.#endOf('stop', events);
    if (this.completionTokens >= this.#bound) return this.#endOf('length', events);
    this.#holdToGrammar(thought && !thinks);
    return { events, ending: undefined };
  }

  /** Behind its thoughts the answer is held to its grammar. A call that the model makes of its own accord is held to its
   *  tool's schema from its name on. */
  #holdToGrammar(thoughtsEnded: boolean): void {
    if (this.#grammar !== undefined) {
      if (thoughtsEnded && this.#thinksFirst) this.#sampler?.constrain(this.#grammar);
      return;
    }
    const { named } = this.#reader;
    if ((named !== undefined) === this.#heldToCall) return;
    this.#heldToCall = named !== undefined;
    const tool = this.order.tools.find(({ name }) => name === named?.tool);
    const rest = named && tool && restOfCall(tool, named.since, this.#syntax);
    this.#sampler?.constrain(rest);
  }

  /** A control token is no text, unless the syntax of the answer is made of it. */
  #textOf(token: number): string {
    const control = this.#runtime.controlText(token);
    if (control === undefined || !this.#marks.has(control)) return this.#utf8.push(token);
    return this.#utf8.flush() + control;
  }

  /** Stop strings count in the text alone, not in reasoning and not in calls. */
  #untilStop(read: readonly ContentEvent[]): { events: ContentEvent[]; stop: string | null } {
    const events: ContentEvent[] = [];
    for (const event of read) {
      const { text, stop } = event.type === 'text' ? this.#stops.push(event.text) : this.#noStop();
      if (text !== '') events.push(this.#textEvent(text));
      if (stop !== null) return { events, stop };
      if (event.type !== 'text') events.push(event);
    }
    return { events, stop: null };
  }

  /** What could have become a stop string did not: something else follows. */
  #noStop(): { text: string; stop: null } {
    return { text: this.#stops.flush(), stop: null };
  }

  #textEvent(text: string): ContentEvent {
    return {
      type: 'text',
      text,
      ...(this.order.topLogprobs === undefined ? {} : { logprobs: this.#logprobs.show(text) }),
    };
  }

  #endOf(why: 'stop' | 'length', shown: ContentEvent[]): Taken {
    const read = [...this.#reader.push(this.#utf8.flush()), ...this.#reader.flush(why === 'length')];
    const { events, stop } = this.#untilStop(read);
    if (stop !== null) return { events: [...shown, ...events], ending: { finishReason: 'stop', stopSequence: stop } };
    const text = this.#stops.flush();
    const rest: ContentEvent[] = text === '' ? events : [...events, this.#textEvent(text)];
    const finishReason = why === 'stop' && this.#reader.calls > 0 ? 'tool_calls' : why;
    return { events: [...shown, ...rest], ending: { finishReason, stopSequence: null } };
  }

  dispose(): void {
    this.#sampler?.dispose();
  }
}
