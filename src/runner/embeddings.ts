import { DarkbloomError } from '../errors.js';
import type { EmbedOrder, OperationMessage } from '../runner-protocol/messages.js';
import type { Embedder } from './llama-embedder.js';
import { failureOf } from './sequences.js';

/** The orders for vectors. They take turns, a text each. */
export class Embeddings {
  readonly #embedder: Embedder;
  readonly #progress: () => void;
  readonly #open = new Set<number>();

  /** `progress` hears of each text that was read. */
  constructor(embedder: Embedder, progress: () => void) {
    this.#embedder = embedder;
    this.#progress = progress;
  }

  /** All vectors of an order, or why there are none. */
  async answer({ id, inputs }: EmbedOrder): Promise<OperationMessage> {
    this.#open.add(id);
    try {
      const texts = inputs.map((input, index) => this.#tokens(input, index));
      const vectors: Float32Array[] = [];
      for (const tokens of texts) {
        const vector = await this.#embedder.embed(tokens);
        if (!this.#open.has(id)) throw new DarkbloomError('cancelled', 'request cancelled');
        vectors.push(normal(vector));
        this.#progress();
      }
      const promptTokens = texts.reduce((sum, tokens) => sum + this.#embedder.read(tokens), 0);
      return { type: 'embedded', id, promptTokens, vectors };
    } catch (error) {
      return { type: 'refused', id, ...failureOf(error) };
    } finally {
      this.#open.delete(id);
    }
  }

  /** The order ends with its next text. Unknown ids are ignored. */
  cancel(id: number): void {
    this.#open.delete(id);
  }

  /** @throws DarkbloomError `invalid_request`, `context_length_exceeded` naming the text. */
  #tokens(input: string | readonly number[], index: number): readonly number[] {
    const { facts, longestTokenBytes, vocabularyTokens } = this.#embedder;
    const atLeast = typeof input === 'string' ? Math.ceil(Buffer.byteLength(input) / longestTokenBytes) : input.length;
    if (atLeast >= facts.contextTokens) throw tooLong(index, `at least ${atLeast}`, facts.contextTokens);
    const tokens = typeof input === 'string' ? this.#embedder.tokenize(input) : input;
    if (tokens.some((token) => token >= vocabularyTokens)) {
      throw new DarkbloomError(
        'invalid_request',
        `'input.${index}': a token is outside of the vocabulary, which has ${vocabularyTokens}.`,
        { param: 'input' },
      );
    }
    const length = this.#embedder.read(tokens);
    if (length >= facts.contextTokens) throw tooLong(index, String(length), facts.contextTokens);
    return tokens;
  }
}

function tooLong(index: number, tokens: string, contextTokens: number): DarkbloomError {
  return new DarkbloomError(
    'context_length_exceeded',
    `'input.${index}': the text has ${tokens} tokens and exceeds the context length of ${contextTokens} tokens.`,
    { param: 'input' },
  );
}

/** Of length 1, so that a product of two is their cosine. */
function normal(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return length === 0 ? vector : vector.map((value) => value / length);
}
