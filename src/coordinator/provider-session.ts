import { randomUUID } from 'node:crypto';
import type { JsonObject } from '../inference/types.js';
import type { Log } from '../log.js';
import type { CoordinatorMessage } from '../protocol/coordinator-messages.js';
import type { Heartbeat, ModelInfo, ProviderMessage, Register } from '../protocol/provider-messages.js';
import type { Clock } from '../util/clock.js';
import { Attempts, type Attempt } from './attempts.js';
import { Challenges } from './challenges.js';
import type { Machine } from './machine.js';
import { Orders, type Order, type OrderKind } from './orders.js';

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

/** Builds that one machine is believed to have; further ones are left out. */
const MAX_BUILDS = 1_000;
/** The fastest that a machine is believed to be, tokens per second (docs/routing.md). */
const MAX_PREFILL_TPS = 5_000;
const MAX_DECODE_TPS = 500;
/** What a machine that has connected anew reads on the older connection (docs/protocol.md, order on a connection). */
const REPLACED = 'replaced by a newer connection';

/** One connected provider, from its `register` to the end of its socket. */
export class ProviderSession {
  readonly id = randomUUID();
  readonly register: Register;
  readonly #options: SessionOptions;
  readonly #models: Map<string, ModelInfo>;
  readonly #attempts: Attempts;
  readonly #challenges: Challenges;
  readonly #orders = new Orders();
  #heartbeat: Heartbeat | undefined;
  /** Milliseconds since the Unix epoch, like the next. */
  readonly connectedAt: number;
  heardAt: number;

  constructor(register: Register, options: SessionOptions) {
    this.register = register;
    this.#options = options;
    this.#models = new Map(register.models.slice(0, MAX_BUILDS).map((model) => [model.id, model]));
    const { send, hangUp, changed, clock, log } = options;
    const common = { provider: this.id, publicKey: register.public_key, send, changed, clock, log };
    this.#challenges = new Challenges({ ...common, hangUp });
    this.#attempts = new Attempts({ ...common, sealBroken: () => this.#challenges.sealBroken() });
    this.connectedAt = clock.now();
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
      encrypted: this.#attempts.canSeal && this.register.encrypted_response_chunks === true,
      mistrust: this.#challenges.mistrust,
      draining: this.#heartbeat?.status === 'draining',
      challengedAt: this.#challenges.passedAt,
      heardAt: this.heardAt,
      prefillTps: atMost(this.register.prefill_tps, MAX_PREFILL_TPS),
      decodeTps: atMost(this.register.decode_tps, MAX_DECODE_TPS),
      metrics: this.#heartbeat?.system_metrics,
      capacity: this.#heartbeat?.backend_capacity,
      ...this.#attempts.load,
    };
  }

  /** The linked machine that this is a connection of. */
  get machineId(): string | undefined {
    return this.#options.machineId;
  }

  /** Whether the other is an older or newer connection of the same process: its key is new with every start. */
  isSameProcess({ register, machine }: ProviderSession): boolean {
    const { public_key: publicKey } = this.register;
    const { accountId } = this.#options;
    if (publicKey === undefined || accountId === undefined) return false;
    return register.public_key === publicKey && machine.accountId === accountId;
  }

  receive(message: ProviderMessage): void {
    this.heardAt = this.#options.clock.now();
    switch (message.type) {
      case 'register':
        this.#options.log.warn({ provider: this.id }, 'a second register was ignored');
        return;
      case 'heartbeat':
        this.#heartbeat = message;
        this.#attempts.beat(message.backend_capacity?.slots ?? []);
        this.#options.changed();
        return;
      case 'models_update':
        for (const model of message.models) {
          if (this.#models.size < MAX_BUILDS || this.#models.has(model.id)) this.#models.set(model.id, model);
        }
        this.#options.changed();
        return;
      case 'attestation_response':
        this.#challenges.answered(message);
        return;
      case 'inference_accepted':
        this.#attempts.accepted(message.request_id);
        return;
      case 'inference_response_chunk':
        this.#attempts.wrote(message);
        return;
      case 'inference_complete':
        this.#attempts.completed(message);
        return;
      case 'inference_error':
        this.#attempts.failed(message);
        return;
      case 'load_model_status':
      case 'prefetch_model_status':
        this.#orders.answered(message);
        return;
      default:
        message satisfies never;
    }
  }

  /** Says something that has no answer. */
  tell(message: CoordinatorMessage): void {
    this.#options.send(message);
  }

  /** Sends a challenge. One that is still open counts as unanswered. */
  challenge(): void {
    this.#challenges.send();
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

  /** Seals the body to this machine and sends it. `tokens`: of prompt and answer, as far as known. */
  start(build: string, body: JsonObject, tokens = 0): Attempt {
    return this.#attempts.start(build, body, tokens);
  }

  cancel(requestId: string): void {
    this.#attempts.cancel(requestId);
  }

  /** Nobody waits for this attempt any more. A machine that is still at work is told to stop. */
  abandon(requestId: string): void {
    this.#attempts.abandon(requestId);
  }

  get running(): number {
    return this.#attempts.running;
  }

  /** Pieces of answers that it wrote for this coordinator in each of the last 60 s, the oldest first. */
  get tokensPerSecond(): number[] {
    return this.#attempts.tokensPerSecond;
  }

  /** Ends the connection. */
  hangUp(reason: string): void {
    this.#options.hangUp(reason);
  }

  /** A newer connection of the same process is there. */
  replaced(): void {
    this.#options.log.info({ provider: this.id }, 'provider connected anew');
    this.#options.hangUp(REPLACED);
  }

  /** The socket is gone: what was in flight fails, and may be tried elsewhere. */
  disconnected(): void {
    this.#challenges.disconnected();
    this.#attempts.disconnected();
  }
}

function atMost(tps: number | undefined, most: number): number | undefined {
  return tps === undefined ? undefined : Math.min(tps, most);
}
