import { ProviderSession } from '../../src/coordinator/provider-session.js';
import { Channel, parsePublicKey } from '../../src/crypto/box.js';
import { Identity } from '../../src/crypto/identity.js';
import { isJsonObject, type JsonObject } from '../../src/inference/types.js';
import { silentLog } from '../../src/log.js';
import type { CoordinatorMessage } from '../../src/protocol/coordinator-messages.js';
import type { ProviderMessage, Register, Sealed, WireUsage } from '../../src/protocol/provider-messages.js';
import type { Clock } from '../../src/util/clock.js';
import { sampleHeartbeat, sampleRegister, type SampleBeat } from '../support/sample-frames.js';

export const BUILD = 'local/tiny';

type Sent<T extends CoordinatorMessage['type']> = Extract<CoordinatorMessage, { type: T }>;

interface Script {
  clock: Clock;
  accountId?: string;
  machineId?: string;
  changed?: () => void;
  register?: Partial<Register>;
  /** Requests of the build that the machine says to answer at once. */
  rows?: number;
}

/** A machine played by a test: what the coordinator's session sends it is kept, and it answers as the test says, with
 *  real boxes. */
export class ScriptedProvider {
  readonly identity = new Identity();
  readonly session: ProviderSession;
  readonly sent: CoordinatorMessage[] = [];
  /** The reasons for which the coordinator wanted to end the connection. */
  readonly hungUp: string[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #clock: Clock;
  #read = 0;

  constructor({ clock, accountId, machineId, changed = () => undefined, register = {}, rows }: Script) {
    this.#clock = clock;
    this.session = new ProviderSession(
      { ...sampleRegister({ build: BUILD, publicKey: this.identity.publicKey }), ...register },
      {
        accountId,
        machineId,
        send: (message) => this.#take(message),
        hangUp: (reason) => void this.hungUp.push(reason),
        changed,
        clock,
        log: silentLog(),
      },
    );
    if (rows !== undefined) this.beat({ rows });
  }

  #take(message: CoordinatorMessage): void {
    this.sent.push(message);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** What was sent of one type so far. */
  sentOf<T extends CoordinatorMessage['type']>(type: T): Sent<T>[] {
    return this.sent.filter((message): message is Sent<T> => message.type === type);
  }

  /** The next request, now or later. */
  async request(): Promise<PlayedRequest> {
    for (;;) {
      const message = this.sentOf('inference_request')[this.#read];
      if (message !== undefined) {
        this.#read++;
        return new PlayedRequest(this, message.request_id, message.encrypted_body);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** The request ids it was told to stop. */
  get cancelled(): string[] {
    return this.sentOf('cancel').map((message) => message.request_id);
  }

  say(message: ProviderMessage): void {
    this.session.receive(message);
  }

  /** A heartbeat of a machine with the build in memory. */
  beat(beat: SampleBeat = {}): void {
    this.say(sampleHeartbeat(BUILD, beat));
  }

  /** Lets itself be challenged, and answers well unless told otherwise. */
  passChallenge(changes: Partial<Extract<ProviderMessage, { type: 'attestation_response' }>> = {}): void {
    this.session.challenge();
    const challenge = this.sentOf('attestation_challenge').at(-1);
    this.say({
      type: 'attestation_response',
      nonce: challenge?.nonce ?? '',
      signature: this.identity.sign(`${challenge?.nonce}${challenge?.timestamp}`),
      public_key: this.identity.publicKey,
      ...changes,
    });
  }

  /** Ready to be routed to, now. */
  ready(): this {
    this.passChallenge();
    if (this.session.machine.challengedAt !== this.#clock.now()) throw new Error('The challenge was not passed.');
    return this;
  }
}

/** One request as the machine sees it. */
export class PlayedRequest {
  readonly id: string;
  readonly body: JsonObject;
  readonly sealed: Sealed;
  readonly #provider: ScriptedProvider;
  readonly #channel: Channel;

  constructor(provider: ScriptedProvider, id: string, sealed: Sealed | undefined) {
    const sender = parsePublicKey(sealed?.ephemeral_public_key ?? '');
    if (sealed === undefined || sender === undefined) throw new Error('The request is not sealed.');
    this.id = id;
    this.sealed = sealed;
    this.#provider = provider;
    this.#channel = new Channel(provider.identity.box, sender);
    const body: unknown = JSON.parse(this.#channel.open(sealed.ciphertext));
    if (!isJsonObject(body)) throw new Error('The request is no object.');
    this.body = body;
  }

  seal(event: string): Sealed {
    return this.#channel.seal(event);
  }

  accept(): void {
    this.#provider.say({ type: 'inference_accepted', request_id: this.id });
  }

  /** The first chunk: a role, no text, and the size of the prompt. */
  begin(promptTokens?: number, cachedTokens?: number): void {
    this.#event({
      choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }],
      ...(promptTokens === undefined
        ? {}
        : { darkbloom: { prompt_tokens: promptTokens, cached_tokens: cachedTokens } }),
    });
  }

  write(content: string): void {
    this.#event({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
  }

  finish(reason: string): void {
    this.#event({ choices: [{ index: 0, delta: {}, finish_reason: reason }] });
  }

  #event(event: JsonObject): void {
    this.chunk({ encrypted_data: this.seal(`data: ${JSON.stringify(event)}`) });
  }

  /** A chunk frame as it is. */
  chunk(content: { encrypted_data?: Sealed; data?: string }): void {
    this.#provider.say({ type: 'inference_response_chunk', request_id: this.id, ...content });
  }

  complete(usage: WireUsage, stopSequence?: string): void {
    this.#provider.say({
      type: 'inference_complete',
      request_id: this.id,
      usage,
      ...(stopSequence === undefined ? {} : { stop_sequence: stopSequence }),
    });
  }

  fail(status: number, error = 'broken', reason?: string, feasibleAfterMs?: number): void {
    this.#provider.say({
      type: 'inference_error',
      request_id: this.id,
      error,
      status_code: status,
      ...(reason === undefined ? {} : { error_reason: reason }),
      ...(feasibleAfterMs === undefined ? {} : { feasible_after_ms: feasibleAfterMs }),
    });
  }
}
