import type { Connection } from '../../src/link/link.js';
import type { ProviderMessage } from '../../src/protocol/provider-messages.js';

type Frame<T extends ProviderMessage['type']> = Extract<ProviderMessage, { type: T }>;

/** A connection that keeps what is sent over it. */
export class RecordedConnection implements Connection {
  readonly frames: ProviderMessage[] = [];
  readonly #waiting: (() => void)[] = [];

  send(message: ProviderMessage): Promise<void> {
    this.frames.push(message);
    for (const wake of this.#waiting.splice(0)) wake();
    return Promise.resolve();
  }

  get types(): string[] {
    return this.frames.map(({ type }) => type);
  }

  framesOf<T extends ProviderMessage['type']>(type: T): Frame<T>[] {
    return this.frames.filter((frame): frame is Frame<T> => frame.type === type);
  }

  /** Resolves once so many frames of this type were sent. */
  async until(type: ProviderMessage['type'], count = 1): Promise<void> {
    while (this.framesOf(type).length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
