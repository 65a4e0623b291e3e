/** Owns what was opened, and closes it in reverse order. */
export class Lifetime implements AsyncDisposable {
  readonly #closers: (() => Promise<void> | void)[] = [];

  own(close: () => Promise<void> | void): void {
    this.#closers.push(close);
  }

  /** Closes everything, the last opened first. One failing closer does not keep the others open.
   *  @throws AggregateError with what the closers threw. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'Some parts could not be closed.');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
