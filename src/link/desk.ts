import type { Identity } from '../crypto/identity.js';
import type { Log } from '../log.js';
import type { Posture } from '../machine/posture.js';
import type { InstalledModel } from '../models/store.js';
import type { AttestationChallenge, CoordinatorMessage } from '../protocol/coordinator-messages.js';
import { answerChallenge } from './challenges.js';
import type { Downloads } from './downloads.js';
import type { Jobs } from './jobs.js';
import type { Connection } from './link.js';
import { ModelOrders } from './model-orders.js';

interface DeskOptions {
  jobs: Jobs;
  identity: Identity;
  models: readonly InstalledModel[];
  /** Security facts of this moment. */
  posture: () => Promise<Posture>;
  isLoaded: (modelId: string) => boolean;
  /** @throws DarkbloomError when the model is unknown, does not fit or cannot be loaded. */
  load: (modelId: string) => Promise<void>;
  downloads: Downloads;
  /** Throws what refuses new work now. */
  refuse: () => void;
  log: Log;
}

/** What the coordinator said of this machine. */
export interface CoordinatorView {
  runtimeVerified?: boolean;
  /** In words, one for each component that it does not accept. */
  mismatches?: string[];
  trustLevel?: string;
  trustStatus?: string;
  trustReason?: string;
}

/** Takes every frame of the coordinator to who answers it; none of them blocks the next. */
export class Desk {
  readonly #options: DeskOptions;
  readonly #orders: ModelOrders;
  #view: CoordinatorView | undefined;
  /** The connection whose challenge is being answered. One at a time for each: answering asks the system, and a peer may
   *  send as many as it likes. */
  #answering: Connection | undefined;

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#orders = new ModelOrders(options);
  }

  /** `undefined` until the coordinator said something about this machine. */
  get view(): CoordinatorView | undefined {
    return this.#view;
  }

  receive(message: CoordinatorMessage, connection: Connection): void {
    const { jobs, downloads, log } = this.#options;
    downloads.heard(connection);
    switch (message.type) {
      case 'inference_request':
        jobs.start(message, connection);
        return;
      case 'cancel':
        jobs.cancel(message.request_id);
        return;
      case 'attestation_challenge':
        if (this.#answering !== connection) void this.#answer(message, connection);
        return;
      case 'load_model':
        void this.#orders.obey(message.model_id, connection);
        return;
      case 'prefetch_model':
        downloads.order(message.model_id);
        return;
      case 'runtime_status': {
        const mismatches = (message.mismatches ?? []).map(
          ({ component, expected, got }) =>
            `${component}: wants ${expected ?? 'another'}, this is ${got ?? 'not told'}`,
        );
        this.#view = { ...this.#view, runtimeVerified: message.verified, mismatches };
        if (message.verified) log.info('the coordinator accepts this runtime');
        else log.warn({ mismatches }, 'connected, not routable here');
        return;
      }
      case 'trust_status': {
        const { trust_level: level, status, reason } = message;
        const { trustReason: _gone, ...view } = this.#view ?? {};
        this.#view = {
          ...view,
          trustLevel: level,
          trustStatus: status,
          ...(reason === undefined ? {} : { trustReason: reason }),
        };
        log.info({ level, status, reason }, 'trust of the coordinator');
        return;
      }
      case 'desired_models':
        downloads.desire(message.models);
        return;
      default:
        message satisfies never;
    }
  }

  /** The connection is gone, and what its coordinator said with it. */
  lost(): void {
    this.#view = undefined;
    this.#options.jobs.abortAll();
  }

  async #answer(challenge: AttestationChallenge, connection: Connection): Promise<void> {
    const { identity, models, posture, log } = this.#options;
    this.#answering = connection;
    try {
      await connection.send(answerChallenge(challenge, { identity, models, posture: await posture() }));
    } catch (error) {
      log.error({ err: error }, 'a challenge could not be answered');
    } finally {
      if (this.#answering === connection) this.#answering = undefined;
    }
  }
}
