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
  readonly #limitBytes: number;
  readonly #index = new PrefixIndex<Stored>();
  /** The least recently used first. */
  readonly #entries = new Set<Stored>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a saved row over; what it contains of other entries they no longer need to hold. */
  put({ scope, tokens }: Cached, saved: SavedRow): void {
    if (saved.bytes > this.#limitBytes) {
      saved.dispose();
      return;
    }
    for (const { entry, length } of this.#index.matches(scope, tokens))
      if (length === entry.tokens.length) this.#drop(entry);
    for (const entry of this.#entries) {
      if (this.#bytes + saved.bytes <= this.#limitBytes) break;
      this.#drop(entry);
    }
    const entry: Stored = { scope, tokens: [...tokens], saved };
    this.#entries.add(entry);
    this.#index.update(entry);
    this.#bytes += saved.bytes;
  }

  /** The longest beginning of `tokens` that is stored for this scope. */
  longest(scope: string, tokens: readonly number[]): Match<Stored> | undefined {
    const match = this.#index.matches(scope, tokens)[0];
    if (match === undefined) return undefined;
    this.#entries.delete(match.entry); // to the end of the line: it was asked for
    this.#entries.add(match.entry);
    return match;
  }

  holds({ scope, tokens }: Cached): boolean {
    return this.#index.matches(scope, tokens).some(({ entry }) => commonLength(entry.tokens, tokens) === tokens.length);
  }

  #drop(entry: Stored): void {
    this.#index.remove(entry);
    this.#entries.delete(entry);
    this.#bytes -= entry.saved.bytes;
    entry.saved.dispose();
  }
}
