import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { WebSocketServer, type WebSocket } from 'ws';
import { Channel, newKeyPair, parsePublicKey } from '../../src/crypto/box.js';
import { readChunk, textIn } from '../../src/inference/chunk-reader.js';
import { decodeProviderFrame, encode } from '../../src/protocol/codec.js';
import type { CoordinatorMessage } from '../../src/protocol/coordinator-messages.js';
import type { ProviderMessage } from '../../src/protocol/provider-messages.js';
import { portOf } from './port-of.js';

type Frame<T extends ProviderMessage['type']> = Extract<ProviderMessage, { type: T }>;

/** The other end of a provider's link, which can misbehave. */
export class FakeCoordinator implements AsyncDisposable {
  readonly #server: WebSocketServer;
  readonly #unread: ProviderMessage[] = [];
  readonly #waiting: (() => void)[] = [];
  #socket: WebSocket | undefined;
  #connections = 0;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.#socket = socket;
      this.#connections++;
      socket.on('message', (data: Buffer) => this.#take(data.toString('utf8')));
    });
  }

  static async listen(): Promise<FakeCoordinator> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/ws/provider' });
    await once(server, 'listening');
    return new FakeCoordinator(server);
  }

  get url(): string {
    return `http://127.0.0.1:${portOf(this.#server)}`;
  }

  /** How often the provider has dialled. */
  get connections(): number {
    return this.#connections;
  }

  /** The oldest unread frame of this type, now or later. */
  received<T extends ProviderMessage['type']>(type: T): Promise<Frame<T>> {
    return this.next((frame): frame is Frame<T> => frame.type === type);
  }

  /** The oldest unread frame that fits, now or later. */
  async next<M extends ProviderMessage>(fits: (frame: ProviderMessage) => frame is M): Promise<M> {
    for (;;) {
      const found = this.#unread.find(fits);
      if (found !== undefined) {
        this.#unread.splice(this.#unread.indexOf(found), 1);
        return found;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  send(message: CoordinatorMessage): void {
    this.sendText(encode(message));
  }

  /** Any text at all, as one frame. */
  sendText(text: string): void {
    this.#socket?.send(text);
  }

  /** Seals a text to a provider's key and sends it as a request. */
  ask(publicKey: string, plaintext: string): AskedRequest {
    const channel = new Channel(newKeyPair(), parsePublicKey(publicKey) ?? newKeyPair().publicKey);
    const request = new AskedRequest(this, channel, publicKey);
    this.send({ type: 'inference_request', request_id: request.id, encrypted_body: channel.seal(plaintext) });
    return request;
  }

  /** Cuts the connection without a word. */
  dropConnection(): void {
    this.#socket?.terminate();
  }

  #take(text: string): void {
    const decoded = decodeProviderFrame(text);
    if (!decoded.ok) throw new Error(`The provider sent a frame that is none: ${decoded.reason}`);
    this.#unread.push(decoded.message);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

type LastFrame = Frame<'inference_complete' | 'inference_error'>;
type AnswerFrame = Frame<'inference_accepted' | 'inference_response_chunk'> | LastFrame;

/** One request to a provider, and what came back of it so far. */
export class AskedRequest {
  readonly id = randomUUID();
  readonly #coordinator: FakeCoordinator;
  readonly #channel: Channel;
  readonly #publicKey: string;
  accepted = false;
  text = '';

  constructor(coordinator: FakeCoordinator, channel: Channel, publicKey: string) {
    this.#coordinator = coordinator;
    this.#channel = channel;
    this.#publicKey = publicKey;
  }

  /** Reads on until the answer has its first text. */
  async untilText(): Promise<void> {
    while (this.text === '') this.#read(await this.#next());
  }

  /** Reads on to the last frame. */
  async ended(): Promise<LastFrame> {
    for (;;) {
      const frame = await this.#next();
      if (frame.type === 'inference_complete' || frame.type === 'inference_error') return frame;
      this.#read(frame);
    }
  }

  #next(): Promise<AnswerFrame> {
    return this.#coordinator.next(
      (frame): frame is AnswerFrame => 'request_id' in frame && frame.request_id === this.id,
    );
  }

  #read(frame: AnswerFrame): void {
    if (frame.type === 'inference_accepted') this.accepted = true;
    if (frame.type !== 'inference_response_chunk') return;
    const { encrypted_data: sealed, data } = frame;
    if (sealed?.ephemeral_public_key !== this.#publicKey || data !== undefined)
      throw new Error('A chunk was not sealed.');
    this.text += textIn(readChunk(this.#channel.open(sealed.ciphertext))?.events ?? []);
  }
}
