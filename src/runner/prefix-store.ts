import { NO_PREFIX_MEMORY, type PrefixMemory } from '../inference/footprint.js';
import type { SavedRow } from './runtime.js';
import { commonLength, PrefixIndex, type Cached, type Match } from './prefix-index.js';

export interface Stored extends Cached {
  readonly saved: SavedRow;
}

/**
 * Prefixes that had to leave their rows, in memory and never in a file. A byte saves the same reading time whichever
 * prefix it belongs to, so what was not asked for the longest is worth the least and goes first.
 */
export class PrefixStore {
  readonly #memory: PrefixMemory;
  readonly #index = new PrefixIndex<Stored>();
  /** The least recently used first. */
  readonly #entries = new Set<Stored>();
  #bytes = 0;

  constructor(memory: PrefixMemory = NO_PREFIX_MEMORY) {
    this.#memory = memory;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether so long a row has room here; what is here would go. Copying a row out takes time and memory. */
  fits(tokens: number): boolean {
    return this.#memory.bytes > 0 && tokens * this.#memory.bytesPerToken <= this.#memory.bytes;
  }

  /** Takes a saved row over; what it contains of other entries they no longer need to hold. */
  put({ scope, tokens }: Cached, saved: SavedRow): void {
    if (saved.bytes > this.#memory.bytes) {
      saved.dispose();
      return;
    }
    for (const { entry, length } of this.#index.matches(scope, tokens))
      if (length === entry.tokens.length) this.drop(entry);
    for (const entry of this.#entries) {
      if (this.#bytes + saved.bytes <= this.#memory.bytes) break;
      this.drop(entry);
    }
    const entry: Stored = { scope, tokens: [...tokens], saved };
    this.#entries.add(entry);
    this.#index.update(entry);
    this.#bytes += saved.bytes;
  }

  /** The longest beginning of `tokens` that is stored for this scope. */
  longest(scope: string, tokens: readonly number[]): Match<Stored> | undefined {
    return this.#index.matches(scope, tokens)[0];
  }

  /** It was asked for: others go first. */
  touch(entry: Stored): void {
    if (this.#entries.delete(entry)) this.#entries.add(entry);
  }

  holds({ scope, tokens }: Cached): boolean {
    return this.#index.matches(scope, tokens).some(({ entry }) => commonLength(entry.tokens, tokens) === tokens.length);
  }

  drop(entry: Stored): void {
    if (!this.#entries.delete(entry)) return;
    this.#index.remove(entry);
    this.#bytes -= entry.saved.bytes;
    entry.saved.dispose();
  }
}
