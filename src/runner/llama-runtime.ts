import { getLlama, LlamaLogLevel, type Llama, type LlamaModel, type Token } from 'node-llama-cpp';
import { DarkbloomError } from '../errors.js';
import type { GenerateOrder, LoadOrder, ModelFacts } from '../runner-protocol/messages.js';
import type { PromptRun, TemplateFacts } from '../inference/prompt.js';
import { ControlTokens } from '../inference/control-tokens.js';
import type { TokenLogprob } from '../inference/types.js';
import {
  nativeOf,
  type Native,
  type NativeGrammarState,
  type NativeSampler,
  type SamplerConfig,
} from './native-context.js';
import { tokenizeRuns, type PromptVocabulary } from './prompt-tokens.js';
import { READ_TOKENS } from './step-plan.js';
import { tokenBytes } from './token-bytes.js';

/** The one file that generates with node-llama-cpp. */

/** What one step adds to one row. */
export interface Feed {
  row: number;
  /** Tokens that the row holds already. */
  position: number;
  tokens: readonly number[];
  /** Chooses the token that follows the last of these; absent: none is wanted. */
  sampler: Sampler | undefined;
  /** Computed as if there were no others in the step: the library cuts what lies together in one batch into pieces of
   *  one length, and where a prompt is cut, its numbers are rounded otherwise. Takes a pass of its own. */
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
  /** True for a token that ends the answer. */
  isEnd(token: number): boolean;
  /** @throws DarkbloomError `invalid_request` for a biased token that the vocabulary has not, `unprocessable` for a
   *  grammar that cannot be compiled. */
  createSampler(options: SamplerOptions, seed: number): Sampler;
  /** One batch: adds the tokens to their rows, which must be in ascending order.
   *  Returns for each the token that was chosen, or why none was.
   *  @throws Error when the batch failed; what these rows then hold is not known. */
  step(feeds: readonly Feed[]): Promise<readonly (Choice | Error | undefined)[]>;
  /** The row holds its first `length` tokens and forgets the others. */
  cut(row: number, length: number): void;
  /** `to` holds what `from` holds. */
  copy(from: number, to: number): Promise<void>;
  /** `undefined`: not possible now. */
  save(row: number, length: number): Promise<SavedRow | undefined>;
  close(): Promise<void>;
}

/** Loads a model and takes all its rows.
 *  @throws Error of the runtime, when the file cannot be loaded or memory is short. */
export async function openRuntime(
  order: LoadOrder,
  log: (line: string) => void,
  progress?: () => void,
): Promise<Runtime> {
  const { llama, model } = await openModel(order, log, progress);
  const kvType = KV_TYPES[order.kvType ?? 'f16'];
  const context = await model.createContext({
    sequences: order.rows,
    contextSize: Math.min(order.contextTokens, model.trainContextSize),
    batchSize: READ_TOKENS + order.rows,
    threads: order.threads ?? defaultThreads(llama),
    flashAttention: switchOf(order.flashAttention),
    experimentalKvCacheKeyType: kvType,
    experimentalKvCacheValueType: kvType,
  });
  const promptVocabulary = promptVocabularyOf(model);
  const controlTexts = new Map([...promptVocabulary.control].map(([text, id]) => [id, text]));
  const { isHybrid, isRecurrent, swaSize } = model.fileInsights;
  const rows = new LlamaRows(nativeOf(llama, model, context), vocabularyOf(model, controlTokensOf(model)));
  return {
    facts: {
      contextTokens: context.contextSize,
      rows: order.rows,
      device: llama.gpu === false ? 'cpu' : llama.gpu,
      gpuLayers: model.gpuLayers,
      memoryBytes: await memoryOf(llama),
    },
    template: {
      template: model.fileInfo.metadata.tokenizer.chat_template,
      bosToken: model.tokens.bosString ?? '',
      eosToken: model.tokens.eosString ?? '',
    },
    cutsAnywhere: !isHybrid && !isRecurrent && swaSize === undefined,
    controlTokens: [...promptVocabulary.control.keys()],
    controlText: (token) => controlTexts.get(token),
    longestTokenBytes: longestTokenBytes(model),
    tokenizePrompt: (runs) => tokenizePrompt(model, promptVocabulary, runs),
    detokenize: (tokens, before) => model.detokenize(tokens as Token[], false, before as Token[]),
    isEnd: (token) => model.isEogToken(token as Token),
    createSampler: (options, seed) => rows.createSampler(options, seed),
    step: (feeds) => rows.step(feeds),
    cut: (row, length) => rows.cut(row, length),
    copy: (from, to) => rows.copy(from, to),
    save: (row, length) => rows.save(row, length),
    close: async () => {
      await rows.close();
      await context.dispose(); // held until here: were it collected before, unloading would wait for it for ever
      await llama.dispose();
    },
  };
}

/** Loads the weights, without a context. `progress` hears of each part that was read.
 *  @throws Error of the runtime, when the file cannot be loaded or memory is short. */
export async function openModel(
  order: LoadOrder,
  log: (line: string) => void,
  progress?: () => void,
): Promise<{ llama: Llama; model: LlamaModel }> {
  const llama = await getLlama({
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    maxThreads: 0,
    logLevel: LlamaLogLevel.warn,
    logger: (level, message) => log(`${level}: ${message.trimEnd()}`),
  });
  const model = await llama.loadModel({
    modelPath: order.modelPath,
    gpuLayers: order.gpuLayers ?? 'auto',
    useMmap: switchOf(order.mmap),
    useMlock: order.mlock ?? false,
    ...(progress === undefined ? {} : { onLoadProgress: progress }),
  });
  return { llama, model };
}

/** One core stays for this process's own loop and for the daemon: the runtime's threads spin at every barrier, so one
 *  that has to share its core holds up all the others. */
export function defaultThreads(llama: Llama): number {
  return Math.max(1, llama.cpuMathCores - 1);
}

const KV_TYPES = { f16: 'F16', q8_0: 'Q8_0', q4_0: 'Q4_0' } as const;

function switchOf(word: 'auto' | 'on' | 'off' = 'auto'): 'auto' | boolean {
  return word === 'auto' ? word : word === 'on';
}

/** On a Mac the buffers of the GPU lie in the same memory and may or may not count as the process's own: the larger of
 *  both figures, not their sum. */
export async function memoryOf(llama: Llama): Promise<number> {
  const { gpuVram, cpuRam } = await llama.getLlamaMemoryUsage();
  return Math.max(gpuVram + cpuRam, process.memoryUsage.rss());
}

/** llama.cpp takes −1 for "to the end". */
const TO_THE_END = -1;

/** The rows of a context, one call at a time. */
class LlamaRows {
  readonly #native: Native;
  readonly #vocabulary: Vocabulary;
  /** Rows that a copy reads or writes with the next batch; until then their bytes are not what they seem. */
  readonly #copying = new Set<number>();
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(native: Native, vocabulary: Vocabulary) {
    this.#native = native;
    this.#vocabulary = vocabulary;
  }

  createSampler(options: SamplerOptions, seed: number): Sampler {
    return new LlamaSampler(this.#native, this.#vocabulary, options, seed);
  }

  step(feeds: readonly Feed[]): Promise<(Choice | Error | undefined)[]> {
    return this.#inTurn(async () => {
      const results = new Map<Feed, Choice | Error | undefined>();
      for (const batch of batchesOf(feeds)) {
        const outputs = await this.#decode(batch);
        this.#copying.clear();
        const choices = await Promise.all(batch.map(({ sampler }, index) => this.#sample(outputs[index], sampler)));
        batch.forEach((feed, index) => results.set(feed, choices[index]));
      }
      return feeds.map((feed) => results.get(feed));
    });
  }

  async #decode(batch: readonly Feed[]): Promise<(number | undefined)[]> {
    const { context } = this.#native;
    context.initBatch(batch.reduce((sum, { tokens }) => sum + tokens.length, 0));
    const outputs = batch.map(({ row, position, tokens, sampler }) => {
      const outputsAt = sampler === undefined ? [] : [tokens.length - 1];
      return context.addToBatch(row, position, Uint32Array.from(tokens), Uint32Array.from(outputsAt))[0];
    });
    await context.decodeBatch();
    return outputs;
  }

  async #sample(output: number | undefined, sampler: Sampler | undefined): Promise<Choice | Error | undefined> {
    if (output === undefined || !(sampler instanceof LlamaSampler)) return undefined;
    try {
      return await sampler.choose(output);
    } catch (error) {
      return error instanceof Error ? error : new Error('Sampling failed.');
    }
  }

  cut(row: number, length: number): void {
    if (this.#closed) return;
    if (this.#native.context.removeTokenCellsFromSequence(row, length, TO_THE_END)) return;
    throw new Error(`Row ${row} cannot be cut after ${length} tokens.`);
  }

  copy(from: number, to: number): Promise<void> {
    return this.#inTurn(async () => {
      await this.#native.context.copySequenceStateFromOtherSequence(to, from);
      this.#copying.add(from).add(to);
    });
  }

  save(row: number, length: number): Promise<SavedRow | undefined> {
    return this.#inTurn(async () => {
      if (this.#copying.has(row)) return undefined;
      const state = this.#native.createState();
      await state.init(this.#native.context, row);
      let disposed = false;
      return {
        bytes: state.size,
        dispose: () => {
          disposed = true;
          state.dispose();
        },
        restore: (to: number) =>
          this.#inTurn(async () => {
            if (disposed || this.#copying.has(to)) return false;
            return this.#native.context.restoreCheckpoint(state, length - 1, to);
          }),
      };
    });
  }

  /** Lets what runs on the context end, and nothing begin any more: using a context that is gone ends the process. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
  }

  #inTurn<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('The model is being unloaded.'));
    const result = call();
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** One token is never cut: what is to be computed alone and has no more may lie beside others. */
function batchesOf(feeds: readonly Feed[]): Feed[][] {
  const isApart = ({ alone, tokens }: Feed) => alone === true && tokens.length > 1;
  const together = feeds.filter((feed) => !isApart(feed));
  const apart = feeds.filter(isApart).map((feed) => [feed]);
  return together.length === 0 ? apart : [together, ...apart];
}

/** The last tokens of an answer that penalties look at. */
const PENALTY_WINDOW_TOKENS = 4_096;

/** OpenAI's bias that forbids a token. */
const FORBIDDEN = -100;

class LlamaSampler implements Sampler {
  readonly #native: Native;
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

  constructor(native: Native, vocabulary: Vocabulary, options: SamplerOptions, seed: number) {
    this.#native = native;
    this.#vocabulary = vocabulary;
    this.#topLogprobs = options.topLogprobs;
    this.#config = samplerConfig(options.sampling, seed);
    this.#bias = biasOf(options.logitBias, vocabulary.size);
    this.#sampler = native.createSampler();
    this.#reader = options.topLogprobs === undefined ? undefined : native.createSampler();
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
    this.#sampler.dispose();
    this.#reader?.dispose();
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

/** What the tokens of a model are. */
interface Vocabulary {
  size: number;
  /** Text of each control token → its id; without those that end an answer. */
  control: ReadonlyMap<string, number>;
  isEnd(token: number): boolean;
  tell(token: number): { token: string; bytes: number[] };
}

function vocabularyOf(model: LlamaModel, control: ReadonlyMap<string, Token>): Vocabulary {
  const { token_type: types = [], tokens: texts = [], model: tokenizer } = model.fileInfo.metadata.tokenizer.ggml;
  return {
    size: texts.length,
    control: new Map([...control].filter(([, token]) => !model.isEogToken(token))),
    isEnd: (token) => model.isEogToken(token as Token),
    tell: (id) => {
      const bytes = tokenBytes(texts[id] ?? '', Number(types[id] ?? 1), tokenizer);
      return { token: Buffer.from(bytes).toString(), bytes };
    },
  };
}

/** GGUF `tokenizer.ggml.token_type`. */
const CONTROL_TYPE = 3;
/** Found by the tokenizer in any text, though many of them mean as much as control tokens: `<think>`, `<tool_call>`. */
const USER_DEFINED_TYPE = 4;

/** Text of each control token of the vocabulary → its id. */
function controlTokensOf(model: LlamaModel): Map<string, Token> {
  const { token_type: types = [], tokens: texts = [] } = model.fileInfo.metadata.tokenizer.ggml;
  const control = new Map<string, Token>();
  types.forEach((type, id) => {
    if (Number(type) === CONTROL_TYPE && texts[id] !== undefined) control.set(texts[id], id as Token);
  });
  return control;
}

function promptVocabularyOf(model: LlamaModel): PromptVocabulary {
  const { token_type: types = [], tokens: texts = [], model: kind, ...rest } = model.fileInfo.metadata.tokenizer.ggml;
  const control = new Map<string, number>(controlTokensOf(model));
  const found: string[] = [];
  types.forEach((type, id) => {
    const text = texts[id] ?? '';
    // runs of spaces and single characters stand for themselves
    if (Number(type) !== USER_DEFINED_TYPE || text.trim() === '' || [...text].length === 1) return;
    found.push(text);
    control.set(text, id);
  });
  return {
    control,
    found: new ControlTokens(found),
    spaceInFront: kind === 'llama' && rest.add_space_prefix !== false,
    tokenize: (text) => model.tokenize(text, false),
  };
}

export function longestTokenBytes(model: LlamaModel): number {
  const { tokens: texts = [] } = model.fileInfo.metadata.tokenizer.ggml;
  return texts.reduce((longest, text) => Math.max(longest, Buffer.byteLength(text)), 1);
}

function* tokenizePrompt(
  model: LlamaModel,
  vocabulary: PromptVocabulary,
  runs: readonly PromptRun[],
): Generator<number, number[]> {
  const tokens = yield* tokenizeRuns(runs, vocabulary);
  const { bos, shouldPrependBosToken } = model.tokens;
  return shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
}
