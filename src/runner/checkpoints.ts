import { NO_PREFIX_MEMORY, type PrefixMemory } from '../inference/footprint.js';
import { commonLength, type Cached } from './prefix-index.js';
import type { SavedRow } from './runtime.js';

/** What a row's state was at the end of these tokens. It serves in every row that holds them, and in no other. */
export interface Checkpoint extends Cached {
  readonly saved: SavedRow;
}

/** Checkpoints in memory, and never in a file; the least recently used goes first. */
export class Checkpoints {
  readonly #memory: PrefixMemory;
  /** The least recently used first. */
  readonly #all = new Set<Checkpoint>();
  #bytes = 0;

  constructor(memory: PrefixMemory = NO_PREFIX_MEMORY) {
    this.#memory = memory;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether one has room here; others would go. */
  get fits(): boolean {
    return this.#memory.bytes > 0 && this.#memory.bytesPerRow <= this.#memory.bytes;
  }

  /** Those of a row with these tokens, the shortest first. */
  within(scope: string, tokens: readonly number[]): Checkpoint[] {
    return [...this.#all]
      .filter((each) => each.scope === scope && begins(each.tokens, tokens))
      .sort((a, b) => a.tokens.length - b.tokens.length);
  }

  /** Takes a copied state over. */
  put({ scope, tokens }: Cached, saved: SavedRow): void {
    if (saved.bytes > this.#memory.bytes) {
      saved.dispose();
      return;
    }
    for (const each of this.#all) {
      if (this.#bytes + saved.bytes <= this.#memory.bytes) break;
      this.drop(each);
    }
    this.#all.add({ scope, tokens: [...tokens], saved });
    this.#bytes += saved.bytes;
  }

  /** It was asked for: others go first. */
  touch(checkpoint: Checkpoint): void {
    if (this.#all.delete(checkpoint)) this.#all.add(checkpoint);
  }

  drop(checkpoint: Checkpoint): void {
    if (!this.#all.delete(checkpoint)) return;
    this.#bytes -= checkpoint.saved.bytes;
    checkpoint.saved.dispose();
  }

  /** Lets go of those that serve in none of these rows. */
  keepOnlyFor(rows: readonly { scope: string | undefined; tokens: readonly number[] }[]): void {
    for (const each of this.#all) {
      if (!rows.some(({ scope, tokens }) => scope === each.scope && begins(each.tokens, tokens))) this.drop(each);
    }
  }
}

function begins(part: readonly number[], whole: readonly number[]): boolean {
  return part.length <= whole.length && commonLength(part, whole) === part.length;
}
