import { availableParallelism } from 'node:os';
import type { Token } from 'node-llama-cpp';
import type { LoadOrder } from '../runner-protocol/messages.js';
import { BatchCosts } from './batch-costs.js';
import { defaultThreads, KV_TYPES, memoryOf, openModel, switchOf } from './llama-model.js';
import { LlamaRows } from './llama-rows.js';
import {
  controlTokensOf,
  longestTokenBytes,
  promptVocabularyOf,
  tokenizePrompt,
  vocabularyOf,
} from './llama-vocabulary.js';
import { nativeOf } from './native-context.js';
import type { Runtime } from './runtime.js';
import { READ_TOKENS } from './step-plan.js';

/** Loads a model and takes all its rows.
 *  @throws Error of the runtime, when the file cannot be loaded or memory is short. */
export async function openRuntime(
  order: LoadOrder,
  log: (line: string) => void,
  progress?: () => void,
): Promise<Runtime> {
  const { llama, model } = await openModel(order, log, progress);
  const threads = order.threads ?? defaultThreads(llama);
  const kvType = KV_TYPES[order.kvType ?? 'f16'];
  const context = await model.createContext({
    sequences: order.rows,
    contextSize: Math.min(order.contextTokens, model.trainContextSize),
    batchSize: READ_TOKENS + order.rows,
    threads,
    flashAttention: switchOf(order.flashAttention),
    experimentalKvCacheKeyType: kvType,
    experimentalKvCacheValueType: kvType,
  });
  const promptVocabulary = promptVocabularyOf(model);
  const controlTexts = new Map([...promptVocabulary.control].map(([text, id]) => [id, text]));
  const { isHybrid, isRecurrent, swaSize } = model.fileInsights;
  const vocabulary = vocabularyOf(model, controlTokensOf(model));
  const onCpu = model.gpuLayers === 0; // also where there is no GPU, whatever was ordered
  const cutsAnywhere = !isHybrid && !isRecurrent && swaSize === undefined;
  const native = nativeOf(llama, model, context);
  const costs = new BatchCosts();
  const rows = new LlamaRows({ native, vocabulary, costs, cpuThreads: onCpu ? threads : 0, cutsAnywhere });
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
    cutsAnywhere,
    controlTokens: [...promptVocabulary.control.keys()],
    controlText: (token) => controlTexts.get(token),
    longestTokenBytes: longestTokenBytes(model),
    tokenizePrompt: (runs) => tokenizePrompt(model, promptVocabulary, runs),
    detokenize: (tokens, before) => model.detokenize(tokens as Token[], false, before as Token[]),
    bytesOf: (token) => vocabulary.tell(token).bytes,
    isEnd: (token) => model.isEogToken(token as Token),
    createSampler: (options, seed) => rows.createSampler(options, seed),
    computesOnAllCores: onCpu && threads >= availableParallelism(),
    step: (feeds, computed) => rows.step(feeds, computed),
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
