import { randomUUID } from 'node:crypto';
import { Channel, newKeyPair, parsePublicKey } from '../crypto/box.js';
import { SpeedMeter } from '../engine/speed-meter.js';
import { DarkbloomError } from '../errors.js';
import { readChunk, type ChunkContent } from '../inference/chunk-reader.js';
import { readResult } from '../inference/operations.js';
import type { JsonObject, OperationResult } from '../inference/types.js';
import type { Log } from '../log.js';
import type { CoordinatorMessage } from '../protocol/coordinator-messages.js';
import { CHUNK_BUFFER, STRAY_CANCEL_PERIOD_MS } from '../protocol/limits.js';
import type {
  InferenceComplete,
  InferenceError,
  InferenceResponseChunk,
  SlotCapacity,
  WireUsage,
} from '../protocol/provider-messages.js';
import type { Clock } from '../util/clock.js';
import { Mailbox } from '../util/mailbox.js';
import type { Machine } from './machine.js';
import { providerError, ProviderGone } from './provider-errors.js';

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

interface AttemptsOptions {
  /** Id of the connection, for the log. */
  provider: string;
  /** The machine's, as it registered it. */
  publicKey: string | undefined;
  send: (message: CoordinatorMessage) => void;
  /** The machine has more room or less, or a model more in memory. */
  changed: () => void;
  /** It broke the seal of an answer. */
  sealBroken: () => void;
  clock: Clock;
  log: Log;
}

/** The first 24 bytes of a sealed text, in base64. */
const NONCE_CHARACTERS = 32;
/** Longest list of ids whose stray chunks we remember to have cancelled. */
const MAX_STRAYS = 1_000;

/** The requests that are at one connected machine, and what they take of its room. */
export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #publicKey: Uint8Array | undefined;
  readonly #open = new Map<string, OpenAttempt>();
  readonly #strays = new Map<string, number>();
  readonly #written: SpeedMeter;
  readonly #assigned = new Map<string, number>();
  readonly #reserved = new Map<string, number>();
  readonly #full = new Set<string>();
  readonly #wrote = new Set<string>();
  #foreign = new Map<string, number>();
  #beats = 0;

  constructor(options: AttemptsOptions) {
    this.#options = options;
    this.#publicKey = options.publicKey === undefined ? undefined : parsePublicKey(options.publicKey);
    this.#written = new SpeedMeter(options.clock);
  }

  /** Whether the machine has a key that requests can be sealed to. */
  get canSeal(): boolean {
    return this.#publicKey !== undefined;
  }

  /** The facts of it that routing looks at. */
  get load(): Pick<Machine, 'assigned' | 'foreign' | 'reserved' | 'full' | 'wrote'> {
    return {
      assigned: this.#assigned,
      foreign: this.#foreign,
      reserved: this.#reserved,
      full: this.#full,
      wrote: this.#wrote,
    };
  }

  get running(): number {
    return this.#open.size;
  }

  /** Pieces of answers that were written in each of the last 60 s, the oldest first. */
  get tokensPerSecond(): number[] {
    return this.#written.history();
  }

  /** Seals the body to the machine and sends it. `tokens`: of prompt and answer, as far as known. */
  start(build: string, body: JsonObject, tokens: number): Attempt {
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
    this.#open.set(attempt.requestId, attempt);
    this.#assigned.set(build, (this.#assigned.get(build) ?? 0) + 1);
    this.#reserved.set(build, (this.#reserved.get(build) ?? 0) + tokens);
    this.#options.send({ type: 'inference_request', request_id: attempt.requestId, encrypted_body });
    return attempt;
  }

  cancel(requestId: string): void {
    this.#options.send({ type: 'cancel', request_id: requestId });
  }

  /** Nobody waits for this attempt any more. A machine that is still at work is told to stop. */
  abandon(requestId: string): void {
    if (!this.#open.has(requestId)) return;
    this.cancel(requestId);
    this.#close(requestId);
  }

  accepted(requestId: string): void {
    this.#deliver(requestId, { type: 'accepted' });
  }

  wrote(message: InferenceResponseChunk): void {
    const { provider, publicKey, sealBroken, log } = this.#options;
    const attempt = this.#open.get(message.request_id);
    if (attempt === undefined) {
      this.#cancelStray(message.request_id);
      return;
    }
    const { encrypted_data, data } = message;
    const fromThem = encrypted_data?.ephemeral_public_key === publicKey;
    try {
      if (encrypted_data === undefined || !fromThem || (data ?? '') !== '')
        throw new Error('a chunk in clear or of another key');
      const text = attempt.channel.open(encrypted_data.ciphertext);
      const nonce = encrypted_data.ciphertext.slice(0, NONCE_CHARACTERS);
      if (attempt.nonces.has(nonce)) {
        log.warn({ provider }, 'a chunk that came twice was left out');
        return;
      }
      attempt.nonces.add(nonce);
      const result = readResult(text);
      const content = result === undefined ? readChunk(text) : undefined;
      if (result !== undefined) this.#deliver(message.request_id, { type: 'result', result });
      for (const event of content?.events ?? []) if (event.type !== 'tool_call') this.#written.count();
      if (content !== undefined && content.events.length > 0) this.#inMemory(attempt.build);
      if (content !== undefined) this.#deliver(message.request_id, { type: 'chunk', content });
    } catch {
      log.error({ provider }, 'an answer was not sealed as promised');
      sealBroken();
      this.#close(
        message.request_id,
        new DarkbloomError('provider_error', 'The machine broke the encryption of its answer.'),
      );
    }
  }

  completed({ request_id: requestId, usage, stop_sequence: stopSequence }: InferenceComplete): void {
    this.#deliver(requestId, { type: 'complete', usage, stopSequence: stopSequence ?? null });
    this.#close(requestId);
  }

  /** A machine that says it is full gets no more of this build until it says what it has. */
  failed(message: InferenceError): void {
    const error = providerError(message);
    const attempt = this.#open.get(message.request_id);
    if (attempt !== undefined && error.code === 'over_capacity') this.#full.add(attempt.build);
    this.#close(message.request_id, error);
  }

  /** A heartbeat came: what was sent before it is in its figures. */
  beat(slots: readonly SlotCapacity[]): void {
    this.#beats++;
    this.#reserved.clear();
    this.#full.clear();
    this.#wrote.clear();
    this.#foreign = new Map(
      slots.map((slot) => [
        slot.model,
        Math.max(0, slot.num_running + slot.num_waiting - (this.#assigned.get(slot.model) ?? 0)),
      ]),
    );
  }

  /** The socket is gone: what was in flight fails, and may be tried elsewhere. */
  disconnected(): void {
    for (const requestId of [...this.#open.keys()]) {
      this.#close(requestId, new ProviderGone());
    }
  }

  /** The model writes, so it is in memory, which the next heartbeat will say: nobody need wait for that. */
  #inMemory(build: string): void {
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
    const attempt = this.#open.get(requestId);
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
    const attempt = this.#open.get(requestId);
    if (attempt === undefined) return;
    this.#open.delete(requestId);
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
}
