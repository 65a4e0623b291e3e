/** An abort signal that follows others, and lets go of them when disposed: they may live as long as the process. */
export class LinkedAbort implements Disposable {
  readonly #controller = new AbortController();
  readonly #sources: readonly AbortSignal[];
  readonly #onAbort: (event: Event) => void;

  constructor(...sources: AbortSignal[]) {
    this.#sources = sources;
    this.#onAbort = (event) => this.#controller.abort((event.target as AbortSignal).reason);
    for (const source of sources) {
      if (source.aborted) this.#controller.abort(source.reason);
      source.addEventListener('abort', this.#onAbort, { once: true });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source.removeEventListener('abort', this.#onAbort);
  }
}

/** The promise's value, `undefined` when the signal is aborted first. What the promise waits for goes on. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(undefined);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
