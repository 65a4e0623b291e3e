import { getLlama, LlamaLogLevel, type Llama, type LlamaModel, type Token } from 'node-llama-cpp';
import type { GenerateOrder, LoadOrder, ModelFacts } from '../runner-protocol/messages.js';
import type { PromptRun, TemplateFacts } from '../inference/prompt.js';
import { ControlTokens } from '../inference/control-tokens.js';
import { nativeOf, type Native, type NativeSampler, type SamplerConfig } from './native-context.js';
import { tokenizeRuns, type Vocabulary } from './prompt-tokens.js';
import { READ_TOKENS } from './step-plan.js';

/** The one file that generates with node-llama-cpp. */

/** What one step adds to one row. */
export interface Feed {
  row: number;
  /** Tokens that the row holds already. */
  position: number;
  tokens: readonly number[];
  /** Chooses the token that follows the last of these; absent: none is wanted. */
  sampler: Sampler | undefined;
}

/** One request's way of choosing tokens. It remembers what it chose, for the penalties. */
export interface Sampler {
  readonly native: NativeSampler;
  dispose(): void;
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
  createSampler(options: GenerateOrder['sampling'], seed: number): Sampler;
  /** One batch: adds the tokens to their rows, which must be in ascending order.
   *  Returns for each the token that was chosen, or why none was.
   *  @throws Error when the batch failed; what these rows then hold is not known. */
  step(feeds: readonly Feed[]): Promise<readonly (number | Error | undefined)[]>;
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
export async function openRuntime(order: LoadOrder, log: (line: string) => void): Promise<Runtime> {
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
  });
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
  const vocabulary = vocabularyOf(model);
  const controlTexts = new Map([...vocabulary.control].map(([text, id]) => [id, text]));
  const { isHybrid, isRecurrent, swaSize } = model.fileInsights;
  const rows = new LlamaRows(nativeOf(llama, model, context));
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
    controlTokens: [...vocabulary.control.keys()],
    controlText: (token) => controlTexts.get(token),
    longestTokenBytes: longestTokenBytes(model),
    tokenizePrompt: (runs) => tokenizePrompt(model, vocabulary, runs),
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

/** One core stays for this process's own loop and for the daemon: the runtime's threads spin at every barrier, so one
 *  that has to share its core holds up all the others. */
function defaultThreads(llama: Llama): number {
  return Math.max(1, llama.cpuMathCores - 1);
}

const KV_TYPES = { f16: 'F16', q8_0: 'Q8_0', q4_0: 'Q4_0' } as const;

function switchOf(word: 'auto' | 'on' | 'off' = 'auto'): 'auto' | boolean {
  return word === 'auto' ? word : word === 'on';
}

/** On a Mac the buffers of the GPU lie in the same memory and may or may not count as the process's own: the larger of
 *  both figures, not their sum. */
async function memoryOf(llama: Llama): Promise<number> {
  const { gpuVram, cpuRam } = await llama.getLlamaMemoryUsage();
  return Math.max(gpuVram + cpuRam, process.memoryUsage.rss());
}

/** llama.cpp takes −1 for "to the end". */
const TO_THE_END = -1;

/** The rows of a context, one call at a time. */
class LlamaRows {
  readonly #native: Native;
  /** Rows that a copy reads or writes with the next batch; until then their bytes are not what they seem. */
  readonly #copying = new Set<number>();
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(native: Native) {
    this.#native = native;
  }

  createSampler(options: GenerateOrder['sampling'], seed: number): Sampler {
    const native = this.#native.createSampler();
    native.applyConfig(samplerConfig(options, seed));
    return { native, dispose: () => native.dispose() };
  }

  step(feeds: readonly Feed[]): Promise<(number | Error | undefined)[]> {
    return this.#inTurn(async () => {
      const { context } = this.#native;
      context.initBatch(feeds.reduce((sum, { tokens }) => sum + tokens.length, 0));
      const outputs = feeds.map(({ row, position, tokens, sampler }) => {
        const outputsAt = sampler === undefined ? [] : [tokens.length - 1];
        return context.addToBatch(row, position, Uint32Array.from(tokens), Uint32Array.from(outputsAt))[0];
      });
      await context.decodeBatch();
      this.#copying.clear();
      return Promise.all(feeds.map(({ sampler }, index) => this.#sample(outputs[index], sampler)));
    });
  }

  async #sample(output: number | undefined, sampler: Sampler | undefined): Promise<number | Error | undefined> {
    if (output === undefined || sampler === undefined) return undefined;
    try {
      const token = await this.#native.context.sampleToken(output, sampler.native);
      return token < 0 ? new Error('No token is left to choose from.') : token;
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

/** The last tokens of an answer that penalties look at. */
const PENALTY_WINDOW_TOKENS = 4_096;

function samplerConfig(options: GenerateOrder['sampling'], seed: number): SamplerConfig {
  const { temperature, topP, topK, minP, presencePenalty, frequencyPenalty, repetitionPenalty } = options;
  const penalised = presencePenalty !== 0 || frequencyPenalty !== 0 || repetitionPenalty !== 1;
  return {
    temperature,
    topP,
    topK,
    minP,
    seed,
    ...(penalised
      ? {
          repeatPenaltyTokens: new Uint32Array(),
          repeatPenaltyMaxTokens: PENALTY_WINDOW_TOKENS,
          repeatPenalty: repetitionPenalty,
          repeatPenaltyPresencePenalty: presencePenalty,
          repeatPenaltyFrequencyPenalty: frequencyPenalty,
        }
      : {}),
  };
}

/** GGUF `tokenizer.ggml.token_type`. */
const CONTROL_TYPE = 3;
/** Found by the tokenizer in any text, though many of them mean as much as control tokens: `<think>`, `<tool_call>`. */
const USER_DEFINED_TYPE = 4;

function vocabularyOf(model: LlamaModel): Vocabulary {
  const { token_type: types = [], tokens: texts = [], model: kind, ...rest } = model.fileInfo.metadata.tokenizer.ggml;
  const control = new Map<string, number>();
  const found: string[] = [];
  types.forEach((type, id) => {
    const text = texts[id] ?? '';
    // runs of spaces and single characters stand for themselves
    const userDefined = Number(type) === USER_DEFINED_TYPE && text.trim() !== '' && [...text].length > 1;
    if (userDefined) found.push(text);
    if (userDefined || Number(type) === CONTROL_TYPE) control.set(text, id);
  });
  return {
    control,
    found: new ControlTokens(found),
    spaceInFront: kind === 'llama' && rest.add_space_prefix !== false,
    tokenize: (text) => model.tokenize(text, false),
  };
}

function longestTokenBytes(model: LlamaModel): number {
  const { tokens: texts = [] } = model.fileInfo.metadata.tokenizer.ggml;
  return texts.reduce((longest, text) => Math.max(longest, Buffer.byteLength(text)), 1);
}

function* tokenizePrompt(
  model: LlamaModel,
  vocabulary: Vocabulary,
  runs: readonly PromptRun[],
): Generator<number, number[]> {
  const tokens = yield* tokenizeRuns(runs, vocabulary);
  const { bos, shouldPrependBosToken } = model.tokens;
  return shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
}
