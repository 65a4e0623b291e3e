import type { PromptRun, TemplateFacts } from '../inference/prompt.js';
import type { TokenLogprob } from '../inference/types.js';
import type { GenerateOrder, ModelFacts } from '../runner-protocol/messages.js';

/** What the loop and the rows need from whoever computes. */

/** A token for what nobody reads: every vocabulary has it. */
export const ANY_TOKEN = 0;

/** What one step adds to one row. */
export interface Feed {
  row: number;
  /** Tokens that the row holds already. */
  position: number;
  tokens: readonly number[];
  /** Chooses the token that follows the last of these; absent: none is wanted. */
  sampler: Sampler | undefined;
  /** Computed as if there were no others in the step, in a pass of its own where others would change how its numbers are
   *  rounded: the library cuts what lies together in one batch into pieces of one length, and shares out the attention of
   *  a row that is alone among a CPU's threads. */
  alone?: boolean;
}

/** How a request wants its tokens chosen. */
export interface SamplerOptions extends Pick<GenerateOrder, 'sampling' | 'logitBias' | 'topLogprobs'> {
  /** GBNF with a rule `root`: only what it allows is chosen, and the end only where it may end. */
  grammar?: string | undefined;
}

/** One request's way of choosing tokens. It remembers what it chose, for the penalties. */
export interface Sampler {
  /** From the next token on, and from the grammar's beginning; `undefined`: whatever the model likes.
   *  @throws DarkbloomError `unprocessable` when the grammar cannot be compiled. */
  constrain(grammar: string | undefined): void;
  dispose(): void;
}

/** A token that was chosen, and its probability if the sampler was made to tell it. */
export interface Choice {
  token: number;
  logprob?: TokenLogprob;
}

/** A row's state outside the context, in memory. */
export interface SavedRow {
  readonly bytes: number;
  dispose(): void;
  /** Puts it into a row. False: not possible now; the row then holds nothing of use. */
  restore(row: number): Promise<boolean>;
}

/** What the loop needs from the model. One call at a time. */
export interface Runtime {
  readonly facts: ModelFacts;
  readonly template: TemplateFacts;
  /** Whether a row can be cut after any token. Models with recurrent layers or a sliding window cannot. */
  readonly cutsAnywhere: boolean;
  /** Yields how many tokens there are where a pause is due. */
  tokenizePrompt(runs: readonly PromptRun[]): Generator<number, number[]>;
  readonly controlTokens: readonly string[];
  /** The text of a control token, which `detokenize` leaves out. */
  controlText(token: number): string | undefined;
  /** Bytes of the longest token of the vocabulary: a text of more bytes has more tokens than bytes ÷ this. */
  readonly longestTokenBytes: number;
  detokenize(tokens: readonly number[], before: readonly number[]): string;
  /** The token's exact bytes, also where it is a part of a character only. */
  bytesOf(token: number): readonly number[];
  /** True for a token that ends the answer. */
  isEnd(token: number): boolean;
  /** @throws DarkbloomError `invalid_request` for a biased token that the vocabulary has not, `unprocessable` for a
   *  grammar that cannot be compiled. */
  createSampler(options: SamplerOptions, seed: number): Sampler;
  /** The threads that compute leave no core of the machine to others. */
  readonly computesOnAllCores: boolean;
  /** One batch: adds the tokens to their rows, which must be in ascending order. `computed`: called when tokens are being
   *  chosen, while nothing is computed; several times where one batch is not enough.
   *  Returns for each the token that was chosen, or why none was.
   *  @throws Error when the batch failed; what these rows then hold is not known. */
  step(feeds: readonly Feed[], computed?: () => void): Promise<readonly (Choice | Error | undefined)[]>;
  /** The row holds its first `length` tokens and forgets the others. */
  cut(row: number, length: number): void;
  /** `to` holds what `from` holds. */
  copy(from: number, to: number): Promise<void>;
  /** `undefined`: not possible now. */
  save(row: number, length: number): Promise<SavedRow | undefined>;
  close(): Promise<void>;
}
