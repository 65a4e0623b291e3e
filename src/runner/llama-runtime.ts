import {
  getLlama,
  LlamaLogLevel,
  type Llama,
  type LlamaContextSequence,
  type LlamaModel,
  type SequenceEvaluateOptions,
  type Token,
} from 'node-llama-cpp';
import type { GenerateOrder, LoadOrder, ModelFacts } from '../runner-protocol/messages.js';
import type { PromptRun, TemplateFacts } from '../inference/prompt.js';

/** The one file that generates with node-llama-cpp. */

const BATCH_TOKENS = 512;

/** One sequence of the context. Taken once, used for one request after another. */
export interface Row {
  /** Sequence id: 0 to rows − 1. Rows stepped together in ascending order make one batch. */
  readonly id: number;
  /** Adds tokens to the row's KV cache. */
  prefill(tokens: readonly number[]): Promise<void>;
  /** Adds `last`, then samples a token for each `next()`; a sampled token is added by the `next()` after it. */
  generate(last: number, sampling: Sampling): AsyncGenerator<number, void>;
  clear(): Promise<void>;
}

interface Sampling {
  options: GenerateOrder['sampling'];
  seed: number;
  /** Tokens of the answer so far, for the penalties. */
  answered: () => readonly number[];
}

/** What the scheduler needs from the model. */
export interface Runtime {
  readonly facts: ModelFacts;
  readonly template: TemplateFacts;
  readonly rows: readonly Row[];
  tokenizePrompt(runs: readonly PromptRun[]): number[];
  readonly controlTokens: readonly string[];
  /** Bytes of the longest token of the vocabulary: a text of more bytes has more tokens than bytes ÷ this. */
  readonly longestTokenBytes: number;
  detokenize(tokens: readonly number[], before: readonly number[]): string;
  /** True for a token that ends the answer. */
  isEnd(token: number): boolean;
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
    batchSize: BATCH_TOKENS,
    threads: order.threads ?? defaultThreads(llama),
    flashAttention: switchOf(order.flashAttention),
    experimentalKvCacheKeyType: kvType,
    experimentalKvCacheValueType: kvType,
  });
  const rows = Array.from({ length: order.rows }, (_, id) => createRow(id, context.getSequence()));
  const control = controlTokensOf(model);
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
    rows,
    controlTokens: [...control.keys()],
    longestTokenBytes: longestTokenBytes(model),
    tokenizePrompt: (runs) => tokenizeRuns(model, control, runs),
    detokenize: (tokens, before) => model.detokenize(tokens as Token[], false, before as Token[]),
    isEnd: (token) => model.isEogToken(token as Token),
    close: () => dispose(llama),
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

async function dispose(llama: Llama): Promise<void> {
  await llama.dispose();
}

function createRow(id: number, sequence: LlamaContextSequence): Row {
  return {
    id,
    prefill: (tokens) => sequence.evaluateWithoutGeneratingNewTokens(tokens as Token[]),
    generate: (last, sampling) => sequence.evaluate([last as Token], evaluateOptions(sampling)),
    clear: () => sequence.clearHistory(),
  };
}

/** The last tokens of an answer that penalties look at. */
const PENALTY_WINDOW_TOKENS = 4_096;

function evaluateOptions({ options, seed, answered }: Sampling): SequenceEvaluateOptions {
  const { temperature, topP, topK, minP, presencePenalty, frequencyPenalty, repetitionPenalty } = options;
  const penalised = presencePenalty !== 0 || frequencyPenalty !== 0 || repetitionPenalty !== 1;
  return {
    temperature,
    topP,
    topK,
    minP,
    seed,
    yieldEogToken: true,
    ...(penalised
      ? {
          repeatPenalty: {
            punishTokens: () => answered().slice(-PENALTY_WINDOW_TOKENS) as Token[],
            maxPunishTokens: PENALTY_WINDOW_TOKENS,
            penalty: repetitionPenalty,
            presencePenalty,
            frequencyPenalty,
          },
        }
      : {}),
  };
}

/** GGUF `tokenizer.ggml.token_type`. */
const CONTROL_TYPE = 3;

/** Text of each control token of the vocabulary → its id. */
function controlTokensOf(model: LlamaModel): Map<string, Token> {
  const { token_type: types = [], tokens: texts = [] } = model.fileInfo.metadata.tokenizer.ggml;
  const control = new Map<string, Token>();
  types.forEach((type, id) => {
    if (Number(type) === CONTROL_TYPE && texts[id] !== undefined) control.set(texts[id], id as Token);
  });
  return control;
}

function longestTokenBytes(model: LlamaModel): number {
  const { tokens: texts = [] } = model.fileInfo.metadata.tokenizer.ggml;
  return texts.reduce((longest, text) => Math.max(longest, Buffer.byteLength(text)), 1);
}

function tokenizeRuns(model: LlamaModel, control: ReadonlyMap<string, Token>, runs: readonly PromptRun[]): Token[] {
  const tokens = runs.flatMap((run) => {
    const id = run.type === 'control' ? control.get(run.token) : undefined;
    return id !== undefined ? [id] : model.tokenize(run.type === 'text' ? run.text : run.token, false);
  });
  const { bos, shouldPrependBosToken } = model.tokens;
  return shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
}
