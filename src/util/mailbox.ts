/**
 * A bounded line between one producer that cannot wait (a socket's or a process's message handler) and one reader.
 * The producer is told when the line is full; it decides what that means.
 */
export class Mailbox<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  readonly #limit: number;
  #end: { error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** False when the line was full and the item was not taken. After the end nothing is taken, silently. */
  put(item: T): boolean {
    if (this.#end !== undefined) return true;
    if (this.#items.length >= this.#limit) return false;
    this.insist(item);
    return true;
  }

  /** Takes the item even when the line is full: for the one thing beside the producer's that the reader must hear. */
  insist(item: T): void {
    if (this.#end !== undefined) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** No more items: the reader gets what is in line, then ends. */
  end(): void {
    this.#end ??= {};
    this.#wake?.();
  }

  /** The reader gets what is in line, then the error. */
  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  /** The reader waits for the next item. */
  get awaited(): boolean {
    return this.#wake !== undefined;
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift() as T;
      if (this.#end !== undefined) {
        if ('error' in this.#end) throw this.#end.error;
        return;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }
}
