import type { Usage } from '../inference/types.js';
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
    const { ledger } = this.#deps;
    await ledger.together(() => ledger.hold({ ...this.#request, amount }));
    this.#state = 'held';
  }

  /** A machine completed it. After another end nothing happens. */
  async settle({ machine, build }: Candidate, usage: Usage): Promise<void> {
    if (this.#state === 'ended') return;
    const { ledger, registry, metrics, feePercent } = this.#deps;
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
    const settlement = await ledger.together(() => ledger.settle({ ...completion, price }));
    this.#state = 'ended';
    if (settlement === undefined) return;
    const tokens = { prompt: usage.promptTokens, completion: usage.completionTokens };
    metrics.settled(this.#request.routeMode, tokens, settlement.cost);
  }

  /** There is nothing to pay for. After another end nothing happens. */
  async refund(reason: RefundReason): Promise<void> {
    if (this.#state !== 'held') return;
    const { ledger, metrics } = this.#deps;
    await ledger.together(() => ledger.refund(this.#request.requestId, reason));
    this.#state = 'ended';
    metrics.refunded(reason);
  }
}
