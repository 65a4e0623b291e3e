import { randomBytes, randomUUID } from 'node:crypto';
import { Channel, newKeyPair, parsePublicKey } from '../crypto/box.js';
import { SpeedMeter } from '../engine/speed-meter.js';
import { DarkbloomError } from '../errors.js';
import { readChunk, type ChunkContent } from '../inference/chunk-reader.js';
import { readResult } from '../inference/operations.js';
import type { JsonObject, OperationResult } from '../inference/types.js';
import type { Log } from '../log.js';
import type { CoordinatorMessage } from '../protocol/coordinator-messages.js';
import { CHALLENGE_TIMEOUT_MS, CHUNK_BUFFER, STRAY_CANCEL_PERIOD_MS } from '../protocol/limits.js';
import type {
  AttestationResponse,
  Heartbeat,
  InferenceError,
  InferenceResponseChunk,
  ModelInfo,
  ProviderMessage,
  Register,
  WireUsage,
} from '../protocol/provider-messages.js';
import type { Clock } from '../util/clock.js';
import { Mailbox } from '../util/mailbox.js';
import type { Machine } from './machine.js';
import { Orders, type Order, type OrderKind } from './orders.js';
import { isGone, mistrustOf, NEW_TRUST, nextTrust, type Trust, type TrustEvent } from './trust.js';

/** What comes back from one attempt, and what happens to it meanwhile. */
export type AttemptEvent =
  | { type: 'accepted' }
  | { type: 'chunk'; content: ChunkContent }
  | { type: 'result'; result: OperationResult }
  | { type: 'complete'; usage: WireUsage; stopSequence: string | null }
  | { type: 'timeout' }
  | { type: 'left' };

/** One request on one machine, under its own id and key pair. */
export interface Attempt {
  readonly requestId: string;
  readonly build: string;
  /** Ends after `complete`; fails with what the machine or the wire said. */
  readonly events: Mailbox<AttemptEvent>;
}

interface OpenAttempt extends Attempt {
  readonly channel: Channel;
  /** Of the chunks that came: what comes twice was copied on its way. */
  readonly nonces: Set<string>;
  /** Tokens of prompt and answer. */
  readonly tokens: number;
  /** Heartbeats that had come when it was sent. */
  readonly beats: number;
}

interface SessionOptions {
  accountId: string | undefined;
  /** The linked machine, the same on every connection; absent: it is linked to no account. */
  machineId?: string | undefined;
  send: (message: CoordinatorMessage) => void;
  /** Ends the connection, because the machine broke a rule of the wire. */
  hangUp: (reason: string) => void;
  /** Something about this machine changed that a waiting request may care about. */
  changed: () => void;
  clock: Clock;
  log: Log;
}

/** The first 24 bytes of a sealed text, in base64. */
const NONCE_CHARACTERS = 32;
/** Longest list of ids whose stray chunks we remember to have cancelled. */
const MAX_STRAYS = 1_000;
const SEED_BYTES = 32;
/** The longest that a machine's own forecast is believed. */
const MAX_RETRY_AFTER_S = 600;
/** Builds that one machine is believed to have; further ones are left out. */
const MAX_BUILDS = 1_000;
/** Challenges that are over, whose late answers count for nothing. */
const MAX_OVER = 10;
/** The fastest that a machine is believed to be, tokens per second (docs/protocol.md, register). */
const MAX_PREFILL_TPS = 5_000;
const MAX_DECODE_TPS = 500;
/** What a machine reads that does not answer any more (docs/protocol.md, challenges). */
const UNRESPONSIVE = 'attestation unresponsive — reconnect required';
/** And one that has connected anew, on the older connection. */
const REPLACED = 'replaced by a newer connection';

/** Its connection ended before its answer did. */
export class ProviderGone extends DarkbloomError {
  constructor() {
    super('provider_error', 'provider disconnected');
  }
}

/** One connected provider, from its `register` to the end of its socket. */
export class ProviderSession {
  readonly id = randomUUID();
  readonly register: Register;
  readonly #options: SessionOptions;
  readonly #publicKey: Uint8Array | undefined;
  readonly #models: Map<string, ModelInfo>;
  readonly #attempts = new Map<string, OpenAttempt>();
  readonly #assigned = new Map<string, number>();
  readonly #strays = new Map<string, number>();
  readonly #reserved = new Map<string, number>();
  readonly #full = new Set<string>();
  readonly #wrote = new Set<string>();
  #foreign = new Map<string, number>();
  #beats = 0;
  #heartbeat: Heartbeat | undefined;
  #challenge: { nonce: string; timeout: Disposable } | undefined;
  #challengedAt: number | undefined;
  /** Nonces of challenges that are over, the newest last. */
  readonly #over: string[] = [];
  readonly #orders = new Orders();
  #trust: Trust = NEW_TRUST;
  readonly #written: SpeedMeter;
  /** Milliseconds since the Unix epoch, like the next. */
  readonly connectedAt: number;
  heardAt: number;

  constructor(register: Register, options: SessionOptions) {
    this.register = register;
    this.#options = options;
    this.#publicKey = register.public_key === undefined ? undefined : parsePublicKey(register.public_key);
    this.#models = new Map(register.models.slice(0, MAX_BUILDS).map((model) => [model.id, model]));
    this.#written = new SpeedMeter(options.clock);
    this.connectedAt = options.clock.now();
    this.heardAt = this.connectedAt;
  }

  /** The facts that routing looks at. */
  get machine(): Machine {
    return {
      id: this.id,
      machineId: this.#options.machineId,
      accountId: this.#options.accountId,
      models: this.#models,
      privateOnly: this.register.private_only ?? false,
      encrypted: this.#publicKey !== undefined && this.register.encrypted_response_chunks === true,
      mistrust: mistrustOf(this.#trust),
      draining: this.#heartbeat?.status === 'draining',
      challengedAt: this.#challengedAt,
      heardAt: this.heardAt,
      prefillTps: atMost(this.register.prefill_tps, MAX_PREFILL_TPS),
      decodeTps: atMost(this.register.decode_tps, MAX_DECODE_TPS),
      metrics: this.#heartbeat?.system_metrics,
      capacity: this.#heartbeat?.backend_capacity,
      assigned: this.#assigned,
      foreign: this.#foreign,
      reserved: this.#reserved,
      full: this.#full,
      wrote: this.#wrote,
    };
  }

  /** The linked machine that this is a connection of. */
  get machineId(): string | undefined {
    return this.#options.machineId;
  }

  /** Ends the connection. */
  hangUp(reason: string): void {
    this.#options.hangUp(reason);
  }

  /** Says something that has no answer. */
  tell(message: CoordinatorMessage): void {
    this.#options.send(message);
  }

  /** Orders the machine to load a build, or to download it; what it says of that is in `orders`. */
  order(kind: OrderKind, build: string): void {
    this.#orders.given(kind, build, this.#options.clock.now());
    this.#options.send({ type: kind, model_id: build });
  }

  /** The orders of this connection, the newest last. */
  get orders(): Order[] {
    return this.#orders.list;
  }

  get running(): number {
    return this.#attempts.size;
  }

  /** Pieces of answers that it wrote for this coordinator in each of the last 60 s, the oldest first. */
  get tokensPerSecond(): number[] {
    return this.#written.history();
  }

  receive(message: ProviderMessage): void {
    this.heardAt = this.#options.clock.now();
    switch (message.type) {
      case 'register':
        this.#options.log.warn({ provider: this.id }, 'a second register was ignored');
        return;
      case 'heartbeat':
        this.#onHeartbeat(message);
        return;
      case 'models_update':
        for (const model of message.models) {
          if (this.#models.size < MAX_BUILDS || this.#models.has(model.id)) this.#models.set(model.id, model);
        }
        this.#options.changed();
        return;
      case 'attestation_response':
        this.#onAttestation(message);
        return;
      case 'inference_accepted':
        this.#deliver(message.request_id, { type: 'accepted' });
        return;
      case 'inference_response_chunk':
        this.#onChunk(message);
        return;
      case 'inference_complete':
        this.#deliver(message.request_id, {
          type: 'complete',
          usage: message.usage,
          stopSequence: message.stop_sequence ?? null,
        });
        this.#close(message.request_id);
        return;
      case 'inference_error':
        this.#onError(message);
        return;
      case 'load_model_status':
      case 'prefetch_model_status':
        this.#orders.answered(message);
        return;
      default:
        message satisfies never;
    }
  }

  #onHeartbeat(message: Heartbeat): void {
    this.#heartbeat = message;
    this.#beats++;
    this.#reserved.clear(); // what was sent before is in the figures now
    this.#full.clear();
    this.#wrote.clear();
    const slots = message.backend_capacity?.slots ?? [];
    this.#foreign = new Map(
      slots.map((slot) => [
        slot.model,
        Math.max(0, slot.num_running + slot.num_waiting - (this.#assigned.get(slot.model) ?? 0)),
      ]),
    );
    this.#options.changed();
  }

  /** Whether the other is an older or newer connection of the same process: its key is new with every start. */
  isSameProcess({ register, machine }: ProviderSession): boolean {
    const { public_key: publicKey } = this.register;
    const { accountId } = this.#options;
    if (publicKey === undefined || accountId === undefined) return false;
    return register.public_key === publicKey && machine.accountId === accountId;
  }

  /** A newer connection of the same process is there. */
  replaced(): void {
    this.#options.log.info({ provider: this.id }, 'provider connected anew');
    this.#options.hangUp(REPLACED);
  }

  /** Sends a challenge. One that is still open counts as unanswered. */
  challenge(): void {
    const { clock, send, log } = this.#options;
    const unanswered = () => {
      this.#endChallenge();
      log.warn({ provider: this.id }, 'a challenge was not answered');
      this.#judge({ type: 'unanswered' });
    };
    if (this.#challenge !== undefined) unanswered();
    const nonce = randomBytes(SEED_BYTES).toString('base64');
    this.#challenge = { nonce, timeout: clock.after(CHALLENGE_TIMEOUT_MS, unanswered) };
    send({ type: 'attestation_challenge', nonce, timestamp: new Date(clock.now()).toISOString() });
  }

  #endChallenge(): void {
    if (this.#challenge === undefined) return;
    this.#challenge.timeout[Symbol.dispose]();
    this.#over.push(this.#challenge.nonce);
    if (this.#over.length > MAX_OVER) this.#over.shift();
    this.#challenge = undefined;
  }

  /** Nonce and key must be ours and theirs, and a signature must be there. What the machine says of its own security is
   *  recorded and shown, never required: nobody is pushed to say what is not true. */
  #onAttestation({ nonce, public_key, signature }: AttestationResponse): void {
    const open = this.#challenge;
    if (open === undefined || this.#over.includes(nonce)) return;
    this.#endChallenge();
    if (nonce === open.nonce && public_key === this.register.public_key && signature !== '') {
      this.#challengedAt = this.#options.clock.now();
      this.#judge({ type: 'passed' });
    } else {
      this.#challengedAt = undefined;
      this.#options.log.warn({ provider: this.id }, 'a challenge was answered wrongly');
      this.#judge({ type: 'wrong' });
    }
  }

  /** Tells the machine when it gains or loses trust, and hangs up on one that seems gone. */
  #judge(event: TrustEvent): void {
    const { send, hangUp, changed, log } = this.#options;
    const before = mistrustOf(this.#trust);
    this.#trust = nextTrust(this.#trust, event);
    const reason = mistrustOf(this.#trust);
    if (reason !== before) {
      const status = reason === undefined ? ({ status: 'online' } as const) : { status: 'untrusted', reason };
      send({ type: 'trust_status', trust_level: 'none', ...status });
      log.warn({ provider: this.id, reason }, reason === undefined ? 'provider trusted again' : 'provider not trusted');
    }
    if (isGone(this.#trust)) hangUp(UNRESPONSIVE);
    changed();
  }

  /** A machine that says it is full gets no more of this build until it says what it has. */
  #onError(message: InferenceError): void {
    const error = providerError(message);
    const attempt = this.#attempts.get(message.request_id);
    if (attempt !== undefined && error.code === 'over_capacity') this.#full.add(attempt.build);
    this.#close(message.request_id, error);
  }

  /** Seals the body to this machine and sends it. `tokens`: of prompt and answer, as far as known. */
  start(build: string, body: JsonObject, tokens = 0): Attempt {
    const theirs = this.#publicKey;
    if (theirs === undefined) throw new TypeError('Routing chose a machine that cannot be sealed to.');
    const channel = new Channel(newKeyPair(), theirs);
    const encrypted_body = channel.seal(JSON.stringify(body));
    const attempt: OpenAttempt = {
      requestId: randomUUID(),
      build,
      channel,
      nonces: new Set(),
      tokens,
      beats: this.#beats,
      events: new Mailbox(CHUNK_BUFFER),
    };
    this.#attempts.set(attempt.requestId, attempt);
    this.#assigned.set(build, (this.#assigned.get(build) ?? 0) + 1);
    this.#reserved.set(build, (this.#reserved.get(build) ?? 0) + tokens);
    this.#options.send({ type: 'inference_request', request_id: attempt.requestId, encrypted_body });
    return attempt;
  }

  /** Nobody waits for this attempt any more. A machine that is still at work is told to stop. */
  abandon(requestId: string): void {
    if (!this.#attempts.has(requestId)) return;
    this.cancel(requestId);
    this.#close(requestId);
  }

  cancel(requestId: string): void {
    this.#options.send({ type: 'cancel', request_id: requestId });
  }

  #onChunk(message: InferenceResponseChunk): void {
    const attempt = this.#attempts.get(message.request_id);
    if (attempt === undefined) {
      this.#cancelStray(message.request_id);
      return;
    }
    const { encrypted_data, data } = message;
    const fromThem = encrypted_data?.ephemeral_public_key === this.register.public_key;
    try {
      if (encrypted_data === undefined || !fromThem || (data ?? '') !== '')
        throw new Error('a chunk in clear or of another key');
      const text = attempt.channel.open(encrypted_data.ciphertext);
      const nonce = encrypted_data.ciphertext.slice(0, NONCE_CHARACTERS);
      if (attempt.nonces.has(nonce)) {
        this.#options.log.warn({ provider: this.id }, 'a chunk that came twice was left out');
        return;
      }
      attempt.nonces.add(nonce);
      const result = readResult(text);
      const content = result === undefined ? readChunk(text) : undefined;
      if (result !== undefined) this.#deliver(message.request_id, { type: 'result', result });
      for (const event of content?.events ?? []) if (event.type !== 'tool_call') this.#written.count();
      if (content !== undefined && content.events.length > 0) this.#writes(attempt.build);
      if (content !== undefined) this.#deliver(message.request_id, { type: 'chunk', content });
    } catch {
      this.#options.log.error({ provider: this.id }, 'an answer was not sealed as promised');
      this.#judge({ type: 'seal_broken' });
      this.#close(
        message.request_id,
        new DarkbloomError('provider_error', 'The machine broke the encryption of its answer.'),
      );
    }
  }

  /** Its model is in memory, which the next heartbeat will say: nobody need wait for that. */
  #writes(build: string): void {
    if (this.#wrote.has(build)) return;
    this.#wrote.add(build);
    this.#options.changed();
  }

  #cancelStray(requestId: string): void {
    const now = this.#options.clock.now();
    if (now - (this.#strays.get(requestId) ?? -Infinity) < STRAY_CANCEL_PERIOD_MS) return;
    if (this.#strays.size >= MAX_STRAYS) this.#strays.clear();
    this.#strays.set(requestId, now);
    this.cancel(requestId);
  }

  #deliver(requestId: string, event: AttemptEvent): void {
    const attempt = this.#attempts.get(requestId);
    if (attempt === undefined || attempt.events.put(event)) return;
    this.cancel(requestId);
    this.#close(
      requestId,
      new DarkbloomError(
        'timeout',
        `The client read too slowly: ${CHUNK_BUFFER} pieces of the answer were waiting for it.`,
      ),
    );
  }

  #close(requestId: string, error?: DarkbloomError): void {
    const attempt = this.#attempts.get(requestId);
    if (attempt === undefined) return;
    this.#attempts.delete(requestId);
    const left = (this.#assigned.get(attempt.build) ?? 1) - 1;
    if (left === 0) this.#assigned.delete(attempt.build);
    else this.#assigned.set(attempt.build, left);
    if (attempt.beats === this.#beats) {
      this.#reserved.set(attempt.build, (this.#reserved.get(attempt.build) ?? 0) - attempt.tokens);
    }
    if (error === undefined) attempt.events.end();
    else attempt.events.fail(error);
    this.#options.changed();
  }

  /** The socket is gone: what was in flight fails, and may be tried elsewhere. */
  disconnected(): void {
    this.#challenge?.timeout[Symbol.dispose]();
    for (const requestId of [...this.#attempts.keys()]) {
      this.#close(requestId, new ProviderGone());
    }
  }
}

/** A machine's error, with the status it gave, as an error of ours. */
function providerError(message: InferenceError): DarkbloomError {
  const { error, status_code: status, error_reason: reason } = message;
  const after = (fallbackS: number) => ({ retryAfterS: retryAfter(message) ?? fallbackS });
  if (reason === 'request_exceeds_context' || /context (length|window)/iu.test(error)) {
    return new DarkbloomError('context_length_exceeded', error, { param: 'messages' });
  }
  if (reason === 'draining') return new DarkbloomError('draining', error, after(3));
  if (reason === 'model_load') return new DarkbloomError('model_unavailable', error, after(5));
  if (status === 499) return new DarkbloomError('cancelled', error);
  if (status === 429) return new DarkbloomError('over_capacity', error, after(2));
  if (status === 400) return new DarkbloomError('invalid_request', error, paramOf(error));
  if (status === 422) return new DarkbloomError('unprocessable', error, paramOf(error));
  if (status === 404) return new DarkbloomError('model_not_loaded', error, after(15));
  const passed = status >= 400 && status <= 599 ? status : 502;
  return new DarkbloomError('provider_error', error, { status: passed, ...(passed === 503 ? after(2) : {}) });
}

function atMost(tps: number | undefined, most: number): number | undefined {
  return tps === undefined ? undefined : Math.min(tps, most);
}

/** The field that a machine's message begins with, as ours do: `'messages.0.content': …`. */
function paramOf(message: string): { param?: string } {
  const param = /^'([a-z_]+)(?:\..*)?': /su.exec(message)?.[1];
  return param === undefined ? {} : { param };
}

/** What the machine said, in whole seconds within reason. */
function retryAfter({ feasible_after_ms: ms }: InferenceError): number | undefined {
  return ms === undefined ? undefined : Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(ms / 1_000)));
}
