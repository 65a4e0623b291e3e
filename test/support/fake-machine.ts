import { once } from 'node:events';
import { WebSocket } from 'ws';
import { Channel, parsePublicKey } from '../../src/crypto/box.js';
import { Identity } from '../../src/crypto/identity.js';
import { isJsonObject, type JsonObject } from '../../src/inference/types.js';
import { decodeCoordinatorFrame, encode } from '../../src/protocol/codec.js';
import type { CoordinatorMessage } from '../../src/protocol/coordinator-messages.js';
import type { ProviderMessage, WireUsage } from '../../src/protocol/provider-messages.js';
import { sampleHeartbeat, sampleRegister } from './sample-frames.js';

/** What a fake machine does with a request. */
export type Play = (request: FakeRequest) => void | Promise<void>;

export interface FakeMachineOptions {
  coordinatorUrl: string;
  linkToken: string;
  build: string;
  /** Requests at once. */
  rows?: number;
  play: Play;
  identity?: Identity;
}

/** A machine that dials a coordinator over a real socket, with real boxes and answers to challenges, and answers requests as
 *  a test says. */
export class FakeMachine implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #identity: Identity;
  readonly #options: FakeMachineOptions;
  readonly #requests = new Map<string, FakeRequest>();
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;

  private constructor(socket: WebSocket, options: FakeMachineOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#identity = options.identity ?? new Identity();
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined); // a coordinator that is killed is no surprise here
    socket.on('message', (data: Buffer) => this.#receive(data.toString('utf8')));
  }

  /** Connected, registered and challenged: resolves when it can be routed to. */
  static async dial(options: FakeMachineOptions): Promise<FakeMachine> {
    const socket = new WebSocket(`${options.coordinatorUrl.replace(/^http/u, 'ws')}/ws/provider`);
    const machine = new FakeMachine(socket, options);
    await Promise.race([once(socket, 'open'), machine.closed]);
    machine.#register();
    await machine.heard(); // its answer to the first challenge is on its way
    await machine.heard();
    return machine;
  }

  #register(): void {
    const { build, linkToken, rows = 4 } = this.#options;
    this.say(sampleRegister({ build, linkToken, publicKey: this.#identity.publicKey }));
    this.say(sampleHeartbeat(build, { rows }));
  }

  #receive(frame: string): void {
    const decoded = decodeCoordinatorFrame(frame);
    if (!decoded.ok) throw new Error(decoded.reason);
    const { message } = decoded;
    switch (message.type) {
      case 'attestation_challenge':
        this.#answer(message);
        return;
      case 'inference_request': {
        const request = new FakeRequest(this, this.#identity, message);
        this.#requests.set(request.id, request);
        void this.#options.play(request);
        return;
      }
      case 'cancel':
        this.#requests.get(message.request_id)?.onCancel();
        return;
      default:
    }
  }

  #answer({ nonce, timestamp }: Extract<CoordinatorMessage, { type: 'attestation_challenge' }>): void {
    const { publicKey: public_key } = this.#identity;
    this.say({
      type: 'attestation_response',
      nonce,
      signature: this.#identity.sign(`${nonce}${timestamp}`),
      public_key,
    });
  }

  /** Sends a frame; a connection that is gone takes none. */
  say(message: ProviderMessage): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(encode(message));
  }

  /** Resolves when the other side has handled all that was said: it answers a ping after the frames before it. */
  async heard(): Promise<void> {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.ping();
    await Promise.race([once(this.#socket, 'pong'), this.closed]);
  }

  /** Hangs up without a word. */
  hangUp(): void {
    this.#socket.terminate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.terminate();
    await this.closed;
  }
}

/** One request as the machine sees it. */
export class FakeRequest {
  readonly id: string;
  readonly body: JsonObject;
  /** What happens when it is cancelled. */
  onCancel: () => void = () => undefined;
  readonly #machine: FakeMachine;
  readonly #channel: Channel;

  constructor(
    machine: FakeMachine,
    identity: Identity,
    { request_id, encrypted_body: sealed }: Extract<CoordinatorMessage, { type: 'inference_request' }>,
  ) {
    const sender = parsePublicKey(sealed?.ephemeral_public_key ?? '');
    if (sealed === undefined || sender === undefined) throw new Error('The request is not sealed.');
    this.id = request_id;
    this.#machine = machine;
    this.#channel = new Channel(identity.box, sender);
    const body: unknown = JSON.parse(this.#channel.open(sealed.ciphertext));
    if (!isJsonObject(body)) throw new Error('The request is no object.');
    this.body = body;
  }

  accept(): void {
    this.#machine.say({ type: 'inference_accepted', request_id: this.id });
  }

  write(content: string): void {
    const event = { choices: [{ index: 0, delta: { content }, finish_reason: null }] };
    this.#machine.say({
      type: 'inference_response_chunk',
      request_id: this.id,
      encrypted_data: this.#channel.seal(`data: ${JSON.stringify(event)}`),
    });
  }

  complete(usage: WireUsage): void {
    this.#machine.say({ type: 'inference_complete', request_id: this.id, usage });
  }

  fail(status: number): void {
    this.#machine.say({ type: 'inference_error', request_id: this.id, error: 'broken', status_code: status });
  }
}
