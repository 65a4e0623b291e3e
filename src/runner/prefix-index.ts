/** Tokens that lie in a cache, for requests of one scope. */
export interface Cached {
  readonly scope: string;
  readonly tokens: readonly number[];
}

export interface Match<T> {
  entry: T;
  /** Tokens in common. */
  length: number;
}

/** Shorter beginnings are not found: reading them again costs less than a step. */
export const BLOCK_TOKENS = 32;

/**
 * Finds who holds the longest beginning of a prompt. Each whole block of an entry is known by a hash of its scope and all
 * its tokens up to there; what the hashes find is compared token by token, so a collision costs a chance and never an
 * answer.
 */
export class PrefixIndex<T extends Cached> {
  readonly #holders = new Map<number, Set<T>>();
  readonly #hashes = new Map<T, number[]>();

  /** Takes note of an entry, or of what was added to its end or cut off there since. */
  update(entry: T): void {
    const hashes = this.#hashes.get(entry) ?? [];
    this.#hashes.set(entry, hashes);
    const blocks = Math.floor(entry.tokens.length / BLOCK_TOKENS);
    while (hashes.length > blocks) this.#forget(hashes.pop(), entry);
    while (hashes.length < blocks) {
      const hash = blockHash(hashes.at(-1) ?? scopeHash(entry.scope), entry.tokens, hashes.length);
      hashes.push(hash);
      const holders = this.#holders.get(hash) ?? new Set();
      this.#holders.set(hash, holders.add(entry));
    }
  }

  remove(entry: T): void {
    for (const hash of this.#hashes.get(entry) ?? []) this.#forget(hash, entry);
    this.#hashes.delete(entry);
  }

  /** The entries of this scope that share most whole blocks with `tokens`, the longest match first. */
  matches(scope: string, tokens: readonly number[]): Match<T>[] {
    let hash = scopeHash(scope);
    let found: ReadonlySet<T> = new Set();
    for (let block = 0; (block + 1) * BLOCK_TOKENS <= tokens.length; block++) {
      hash = blockHash(hash, tokens, block);
      const holders = this.#holders.get(hash);
      if (holders === undefined) break;
      found = holders;
    }
    return [...found]
      .filter((entry) => entry.scope === scope)
      .map((entry) => ({ entry, length: commonLength(entry.tokens, tokens) }))
      .filter(({ length }) => length >= BLOCK_TOKENS)
      .sort((a, b) => b.length - a.length);
  }

  #forget(hash: number | undefined, entry: T): void {
    if (hash === undefined) return;
    const holders = this.#holders.get(hash);
    holders?.delete(entry);
    if (holders?.size === 0) this.#holders.delete(hash);
  }
}

export function commonLength(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}

/** FNV-1a, 32 bits. */
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

function scopeHash(scope: string): number {
  let hash = FNV_OFFSET;
  for (let index = 0; index < scope.length; index++) hash = mix(hash, scope.charCodeAt(index));
  return hash;
}

function blockHash(before: number, tokens: readonly number[], block: number): number {
  let hash = mix(before, block);
  for (let index = block * BLOCK_TOKENS; index < (block + 1) * BLOCK_TOKENS; index++)
    hash = mix(hash, tokens[index] ?? 0);
  return hash;
}

function mix(hash: number, value: number): number {
  return Math.imul(hash ^ value, FNV_PRIME) >>> 0;
}
