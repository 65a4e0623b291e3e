import type { Token } from 'node-llama-cpp';
import type { LoadOrder, ModelFacts } from '../runner-protocol/messages.js';
import { defaultThreads, memoryOf, openModel } from './llama-model.js';
import { longestTokenBytes } from './llama-vocabulary.js';

/** The one file that makes vectors with node-llama-cpp. */

/** A text is read in one batch, and the batch's buffers grow with it; models for vectors rarely read more. */
const MAX_CONTEXT_TOKENS = 8_192;

/** What the vectors of a model are made with. */
export interface Embedder {
  readonly facts: ModelFacts;
  /** A text of more bytes for each token of the context cannot fit. */
  readonly longestTokenBytes: number;
  readonly vocabularyTokens: number;
  tokenize(text: string): number[];
  /** How many tokens the model reads for these: some models want one at the beginning or the end. */
  read(tokens: readonly number[]): number;
  /** One text's vector; further calls wait for it in turn. */
  embed(tokens: readonly number[]): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Loads a model for vectors.
 *  @throws Error of the runtime, when the file cannot be loaded or memory is short. */
export async function openEmbedder(
  order: LoadOrder,
  log: (line: string) => void,
  progress?: () => void,
): Promise<Embedder> {
  const { llama, model } = await openModel(order, log, progress);
  const contextTokens = Math.min(order.contextTokens, model.trainContextSize, MAX_CONTEXT_TOKENS);
  const context = await model.createEmbeddingContext({
    contextSize: contextTokens,
    batchSize: contextTokens,
    threads: order.threads ?? defaultThreads(llama),
  });
  const { tokens: vocabulary = [] } = model.fileInfo.metadata.tokenizer.ggml;
  let last: Promise<unknown> = Promise.resolve();
  return {
    facts: {
      contextTokens,
      rows: order.rows,
      device: llama.gpu === false ? 'cpu' : llama.gpu,
      gpuLayers: model.gpuLayers,
      memoryBytes: await memoryOf(llama),
      dimensions: model.embeddingVectorSize,
    },
    longestTokenBytes: longestTokenBytes(model),
    vocabularyTokens: vocabulary.length,
    tokenize: (text) => model.tokenize(text, false),
    read: (tokens) => context.calculateInputLength([...tokens] as Token[]),
    embed: (tokens) => {
      const embedding = context.getEmbeddingFor([...tokens] as Token[]);
      last = embedding.catch(() => undefined);
      return embedding.then(({ vector }) => Float32Array.from(vector));
    },
    close: async () => {
      await last;
      await context.dispose();
      await llama.dispose();
    },
  };
}
