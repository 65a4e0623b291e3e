import { once } from 'node:events';
import { WebSocket } from 'ws';
import { decodeCoordinatorFrame, encode } from '../../src/protocol/codec.js';
import type { CoordinatorMessage } from '../../src/protocol/coordinator-messages.js';
import type { ProviderMessage } from '../../src/protocol/provider-messages.js';

type Sent<T extends CoordinatorMessage['type']> = Extract<CoordinatorMessage, { type: T }>;

/** A provider that dials a coordinator over a real socket, and says what the test wants. */
export class DiallingProvider implements Disposable {
  readonly #socket: WebSocket;
  readonly #unread: CoordinatorMessage[] = [];
  readonly #waiting: (() => void)[] = [];
  /** Code and reason that the connection was closed with. */
  readonly closed: Promise<[number, string]>;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => {
      const decoded = decodeCoordinatorFrame(data.toString('utf8'));
      if (!decoded.ok) throw new Error(decoded.reason);
      this.#unread.push(decoded.message);
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.closed = once(socket, 'close').then(([code, reason]) => [code as number, (reason as Buffer).toString('utf8')]);
  }

  static async dial(coordinatorUrl: string): Promise<DiallingProvider> {
    const socket = new WebSocket(`${coordinatorUrl.replace(/^http/u, 'ws')}/ws/provider`);
    await once(socket, 'open');
    return new DiallingProvider(socket);
  }

  say(message: ProviderMessage): void {
    this.#socket.send(encode(message));
  }

  /** Resolves when the other side has handled all that was said: it answers a ping after the frames before it. */
  async heard(): Promise<void> {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.ping();
    await Promise.race([once(this.#socket, 'pong'), this.closed]);
  }

  /** The oldest unread message of this type, now or later. */
  async next<T extends CoordinatorMessage['type']>(type: T): Promise<Sent<T>> {
    for (;;) {
      const found = this.#unread.find((message): message is Sent<T> => message.type === type);
      if (found !== undefined) {
        this.#unread.splice(this.#unread.indexOf(found), 1);
        return found;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }
}
