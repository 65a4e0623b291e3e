import type { BatchCosts, Shape } from './batch-costs.js';
import { rowsToFill, stretchesOf } from './gaps.js';
import { LlamaSampler, type SamplingParts } from './llama-sampler.js';
import type { Vocabulary } from './llama-vocabulary.js';
import type { Native } from './native-context.js';
import { NativeSamplers } from './native-samplers.js';
import { ANY_TOKEN, type Choice, type Feed, type Sampler, type SamplerOptions, type SavedRow } from './runtime.js';

/** llama.cpp takes −1 for "to the end". */
const TO_THE_END = -1;

/** From here on llama.cpp's CPU backend shares out one row's attention among its threads when the row is alone in a batch,
 *  and adds up what they found: other sums than beside others. */
const SHARED_ATTENTION_POSITION = 256;

interface Options {
  native: Native;
  vocabulary: Vocabulary;
  costs: Pick<BatchCosts, 'learn' | 'expected' | 'apart'>;
  /** CPU threads that compute; 0 where a GPU does. */
  cpuThreads: number;
  /** Rows can be cut after any token. */
  cutsAnywhere: boolean;
}

/** The rows of a context, one call at a time. */
export class LlamaRows {
  readonly #native: Native;
  readonly #sampling: SamplingParts;
  /** Rows that a copy reads or writes with the next batch; until then their bytes are not what they seem. */
  readonly #copying = new Set<number>();
  /** Tokens that each row holds; none where it is not named. */
  readonly #lengths = new Map<number, number>();
  readonly #costs: Options['costs'];
  readonly #cpuThreads: number;
  readonly #cutsAnywhere: boolean;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor({ native, vocabulary, costs, cpuThreads, cutsAnywhere }: Options) {
    this.#native = native;
    this.#sampling = { native, samplers: new NativeSamplers(native.createSampler), vocabulary };
    this.#costs = costs;
    this.#cpuThreads = cpuThreads;
    this.#cutsAnywhere = cutsAnywhere;
  }

  createSampler(options: SamplerOptions, seed: number): Sampler {
    return new LlamaSampler(this.#sampling, options, seed);
  }

  step(feeds: readonly Feed[], computed?: () => void): Promise<(Choice | Error | undefined)[]> {
    return this.#inTurn(async () => {
      const results = new Map<Feed, Choice | Error | undefined>();
      for (const batch of this.#batchesOf(feeds)) {
        const outputs = await this.#decode(batch);
        this.#copying.clear();
        const choosing = Promise.all(batch.map(({ sampler }, index) => this.#sample(outputs[index], sampler)));
        computed?.();
        const choices = await choosing;
        batch.forEach((feed, index) => results.set(feed, choices[index]));
      }
      return feeds.map((feed) => results.get(feed));
    });
  }

  /** What is to be computed alone takes a batch of its own. One token is never cut, and may lie beside others where its
   *  attention is the same there. On a GPU rows together cost what one costs, and nobody asks whether they are better apart. */
  #batchesOf(feeds: readonly Feed[]): Feed[][] {
    const sharesAttention = this.#cpuThreads > 1;
    const differs = ({ tokens, position }: Feed) =>
      tokens.length > 1 || (sharesAttention && position >= SHARED_ATTENTION_POSITION);
    const [ones, together] = partition(feeds, (feed) => feed.alone === true && differs(feed));
    const apart = this.#cpuThreads > 0 && together.every(isOneToken) && this.#costs.apart(shapeOf(together));
    const rest = apart ? together.map((feed) => [feed]) : [together];
    return [...rest, ...ones.map((feed) => [feed])].filter((batch) => batch.length > 0);
  }

  async #decode(batch: readonly Feed[]): Promise<(number | undefined)[]> {
    const { context } = this.#native;
    const oneEach = batch.every(isOneToken);
    const along = oneEach ? this.#fedAlong(batch) : [];
    const all = [...batch, ...along].sort((a, b) => a.row - b.row);
    context.initBatch(all.reduce((sum, { tokens }) => sum + tokens.length, 0));
    const outputs = new Map(all.map((feed) => [feed, this.#add(feed)]));
    const begun = performance.now();
    let forgotten: boolean[] = [];
    try {
      await context.decodeBatch();
    } finally {
      forgotten = along.map(({ row, position }) => context.removeTokenCellsFromSequence(row, position, TO_THE_END));
    }
    if (forgotten.includes(false)) throw new Error('What was fed along cannot be cut off.');
    if (oneEach) this.#costs.learn(shapeOf(all), performance.now() - begun);
    for (const { row, position, tokens } of batch) this.#lengths.set(row, position + tokens.length);
    return batch.map((feed) => outputs.get(feed));
  }

  /** Returns where in the batch the output is, if there is to be one. */
  #add({ row, position, tokens, sampler }: Feed): number | undefined {
    const outputsAt = sampler === undefined ? [] : [tokens.length - 1];
    return this.#native.context.addToBatch(row, position, Uint32Array.from(tokens), Uint32Array.from(outputsAt))[0];
  }

  /** A token for each row that fills a gap of this batch of one token each. It is cut off again before anyone else uses the context. */
  #fedAlong(batch: readonly Feed[]): Feed[] {
    if (!this.#cutsAnywhere) return [];
    const lengthOf = (row: number) => this.#lengths.get(row) ?? 0;
    const rows = batch.map(({ row }) => row);
    return rowsToFill(rows, lengthOf, this.#costs).map((row) => {
      return { row, position: lengthOf(row), tokens: [ANY_TOKEN], sampler: undefined };
    });
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
    this.#lengths.set(row, Math.min(length, this.#lengths.get(row) ?? 0));
    if (this.#native.context.removeTokenCellsFromSequence(row, length, TO_THE_END)) return;
    throw new Error(`Row ${row} cannot be cut after ${length} tokens.`);
  }

  copy(from: number, to: number): Promise<void> {
    return this.#inTurn(async () => {
      await this.#native.context.copySequenceStateFromOtherSequence(to, from);
      this.#copying.add(from).add(to);
      this.#lengths.set(to, this.#lengths.get(from) ?? 0);
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
            const restored = await this.#native.context.restoreCheckpoint(state, length - 1, to);
            if (restored) this.#lengths.set(to, length);
            return restored;
          }),
      };
    });
  }

  /** Lets what runs on the context end, and nothing begin any more: using a context that is gone ends the process. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    this.#sampling.samplers.dispose();
  }

  /** Begins when the call before has ended. */
  #inTurn<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('The model is being unloaded.'));
    const result = this.#last.then(call);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function isOneToken({ tokens }: Feed): boolean {
  return tokens.length === 1;
}

function shapeOf(batch: readonly Feed[]): Shape {
  return stretchesOf(batch.map(({ row }) => row));
}

function partition<T>(all: readonly T[], belongs: (one: T) => boolean): [those: T[], others: T[]] {
  return [all.filter(belongs), all.filter((one) => !belongs(one))];
}
