import { DarkbloomError } from '../errors.js';
import type { TokenLogprob } from '../inference/types.js';
import type { GenerateOrder } from '../runner-protocol/messages.js';
import type { Vocabulary } from './llama-vocabulary.js';
import type { Native, NativeGrammarState, NativeSampler, SamplerConfig } from './native-context.js';
import type { NativeSamplers } from './native-samplers.js';
import type { Choice, Sampler, SamplerOptions } from './runtime.js';

/** The last tokens of an answer that penalties look at. */
const PENALTY_WINDOW_TOKENS = 4_096;

/** OpenAI's bias that forbids a token. */
const FORBIDDEN = -100;

/** What all samplers of a model share. */
export interface SamplingParts {
  native: Native;
  samplers: NativeSamplers;
  vocabulary: Vocabulary;
}

export class LlamaSampler implements Sampler {
  readonly #native: Native;
  readonly #samplers: NativeSamplers;
  readonly #vocabulary: Vocabulary;
  readonly #topLogprobs: number | undefined;
  readonly #config: SamplerConfig;
  /** By token. */
  readonly #bias: ReadonlyMap<number, number>;
  readonly #sampler: NativeSampler;
  /** Leaves the logits as the model gave them; absent: they are not asked for. */
  readonly #reader: NativeSampler | undefined;
  /** What penalties look at. */
  readonly #chosen: number[] = [];
  #grammar: NativeGrammarState | undefined;
  #disposed = false;

  constructor({ native, samplers, vocabulary }: SamplingParts, options: SamplerOptions, seed: number) {
    this.#native = native;
    this.#samplers = samplers;
    this.#vocabulary = vocabulary;
    this.#topLogprobs = options.topLogprobs;
    this.#config = samplerConfig(options.sampling, seed);
    this.#bias = biasOf(options.logitBias, vocabulary.size);
    this.#sampler = samplers.take();
    this.#reader = options.topLogprobs === undefined ? undefined : samplers.take();
    this.#reader?.applyConfig({ temperature: 0 });
    try {
      this.constrain(options.grammar);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  constrain(grammar: string | undefined): void {
    this.#grammar = grammar === undefined ? undefined : this.#compile(grammar);
    // The runtime takes a control token for the text of its name, which nobody would see.
    const hidden = [...this.#vocabulary.control].filter(([text]) => grammar?.includes(text) === false);
    const bias = new Map([...this.#bias, ...hidden.map(([, token]) => [token, -Infinity] as const)]);
    this.#sampler.applyConfig({
      ...this.#config,
      ...(this.#isPenalised ? { repeatPenaltyTokens: Uint32Array.from(this.#chosen) } : {}),
      ...(bias.size === 0
        ? {}
        : { tokenBiasKeys: Uint32Array.from(bias.keys()), tokenBiasValues: Float32Array.from(bias.values()) }),
      ...(this.#grammar === undefined ? {} : { grammarEvaluationState: this.#grammar }),
    });
  }

  #compile(grammar: string): NativeGrammarState {
    try {
      return this.#native.createGrammarState(grammar);
    } catch (error) {
      throw new DarkbloomError('unprocessable', 'The grammar for this request cannot be compiled.', { cause: error });
    }
  }

  get #isPenalised(): boolean {
    return this.#config.repeatPenaltyMaxTokens !== undefined;
  }

  /** @throws Error when there is no token to choose. */
  async choose(output: number): Promise<Choice> {
    const token = await this.#choose(output);
    if (this.#isPenalised) {
      this.#chosen.push(token);
      if (this.#chosen.length > PENALTY_WINDOW_TOKENS) this.#chosen.shift();
    }
    return this.#reader === undefined ? { token } : { token, logprob: await this.#read(output, token, this.#reader) };
  }

  async #choose(output: number): Promise<number> {
    const grammar = this.#grammar;
    const nothing = () => new Error('The grammar leaves no token to choose from.');
    const token = await this.#native.context.sampleToken(output, this.#sampler).catch((error: unknown) => {
      throw grammar === undefined ? error : nothing(); // the library's own message tells the token
    });
    if (token < 0) throw new Error('No token is left to choose from.');
    // Where every token is forbidden the library chooses any; that it may not end here it does not notice.
    if (grammar !== undefined && this.#vocabulary.isEnd(token) && !this.#native.allows(grammar, token)) throw nothing();
    return token;
  }

  /** The probability of `token` and of the likeliest ones as the model gave them, before anything that the request sets
   *  has changed them. */
  async #read(output: number, token: number, reader: NativeSampler): Promise<TokenLogprob> {
    const wanted = this.#topLogprobs ?? 0;
    const [likeliest, , , logits, weight] = await this.#native.context.sampleToken(
      output,
      reader,
      false,
      false,
      [[token], false, false, true, wanted],
      true,
    );
    const found = new Map<number, number>();
    for (let at = 0; at + 1 < logits.length; at += 2) found.set(logits[at] ?? 0, logits[at + 1] ?? 0);
    const shift = (found.get(likeliest) ?? 0) + Math.log(weight);
    const tell = (id: number) => ({ ...this.#vocabulary.tell(id), logprob: (found.get(id) ?? -Infinity) - shift });
    const sorted = [...found.keys()].sort((a, b) => (found.get(b) ?? 0) - (found.get(a) ?? 0));
    return { ...tell(token), top: sorted.slice(0, wanted).map(tell) };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#samplers.giveBack(this.#sampler);
    if (this.#reader !== undefined) this.#samplers.giveBack(this.#reader);
  }
}

function samplerConfig(sampling: GenerateOrder['sampling'], seed: number): SamplerConfig {
  const { temperature, topP, topK, minP, presencePenalty, frequencyPenalty, repetitionPenalty } = sampling;
  const penalised = presencePenalty !== 0 || frequencyPenalty !== 0 || repetitionPenalty !== 1;
  return {
    temperature,
    topP,
    topK,
    minP,
    seed,
    ...(penalised
      ? {
          repeatPenaltyMaxTokens: PENALTY_WINDOW_TOKENS,
          repeatPenalty: repetitionPenalty,
          repeatPenaltyPresencePenalty: presencePenalty,
          repeatPenaltyFrequencyPenalty: frequencyPenalty,
        }
      : {}),
  };
}

function biasOf(logitBias: Readonly<Record<string, number>>, vocabulary: number): Map<number, number> {
  const biases = Object.entries(logitBias).map(
    ([id, bias]) => [Number(id), bias === FORBIDDEN ? -Infinity : bias] as const,
  );
  if (biases.every(([id]) => id < vocabulary)) return new Map(biases);
  throw new DarkbloomError(
    'invalid_request',
    `'logit_bias': must name tokens of the model's vocabulary, 0 to ${vocabulary - 1}.`,
    { param: 'logit_bias' },
  );
}
