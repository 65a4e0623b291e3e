import { DarkbloomError } from '../errors.js';
import type { Usage } from '../inference/types.js';
import type { Log } from '../log.js';
import type { Ledger, RefundReason, RouteMode } from './ledger.js';
import type { Metrics } from './metrics.js';
import type { Registry } from './registry.js';
import type { Candidate } from './routing.js';

/** What is known of a request before it is sent. */
interface BilledRequest {
  requestId: string;
  accountId: string;
  keyId: string | undefined;
  /** The name the consumer asked for. */
  alias: string;
  routeMode: RouteMode;
}

interface BillDeps {
  ledger: Ledger;
  registry: Registry;
  metrics: Metrics;
  /** The platform's part of a paid request, in whole percent. */
  feePercent: number;
  log: Log;
}

/**
 * The money of one request, from its hold to its one end:
 *
 *   new ──hold──▶ held ──settle, refund──▶ ended
 *    └────settle (the owner's own machine)──┘
 *
 * Each step is on the disk when its promise resolves.
 */
export class Bill {
  readonly #request: BilledRequest;
  readonly #deps: BillDeps;
  #state: 'new' | 'held' | 'ended' = 'new';

  constructor(request: BilledRequest, deps: BillDeps) {
    this.#request = request;
    this.#deps = deps;
  }

  /** @throws DarkbloomError `key_limit_reached`, `insufficient_quota`. */
  async hold(amount: bigint): Promise<void> {
    await this.#inBooks('hold', (ledger) => ledger.hold({ ...this.#request, amount }));
    this.#state = 'held';
  }

  /** A machine completed it. After another end nothing happens. */
  async settle({ machine, build }: Candidate, usage: Usage): Promise<void> {
    if (this.#state === 'ended') return;
    const { registry, metrics, feePercent } = this.#deps;
    const providerAccountId = machine.accountId ?? '';
    const completion = {
      ...this.#request,
      build,
      providerId: machine.id,
      providerAccountId,
      promptTokens: usage.promptTokens,
      completionTokens: usage.completionTokens,
      feePercent,
    };
    const price = registry.priceFor(build, providerAccountId);
    const settlement = await this.#inBooks('settlement', (ledger) => ledger.settle({ ...completion, price }));
    this.#state = 'ended';
    if (settlement === undefined) return;
    const tokens = { prompt: usage.promptTokens, completion: usage.completionTokens };
    metrics.settled(this.#request.routeMode, tokens, settlement.cost);
  }

  /** There is nothing to pay for. After another end nothing happens. */
  async refund(reason: RefundReason): Promise<void> {
    if (this.#state !== 'held') return;
    await this.#inBooks('refund', (ledger) => ledger.refund(this.#request.requestId, reason));
    this.#state = 'ended';
    this.#deps.metrics.refunded(reason);
  }

  /** What the books refuse to take is a fault that somebody must see, whoever asked. */
  async #inBooks<T>(step: string, work: (ledger: Ledger) => T): Promise<T> {
    const { ledger, log } = this.#deps;
    try {
      return await ledger.together(() => work(ledger));
    } catch (error) {
      if (!(error instanceof DarkbloomError)) {
        log.error({ err: error, request: this.#request.requestId, step }, 'the books could not be written');
      }
      throw error;
    }
  }
}
