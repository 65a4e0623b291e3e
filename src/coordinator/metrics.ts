import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RefundReason, RouteMode } from './ledger.js';

/** Read when somebody asks. */
interface MetricSources {
  requestsRunning: () => number;
  providersConnected: () => number;
}

const FIRST_TOKEN_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** Figures for Prometheus. No label says whose a request was: no account, key, model or machine. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #responses: Counter<'status'>;
  readonly #firstToken: Histogram;
  readonly #settled: Counter<'route'>;
  readonly #refunded: Counter<'reason'>;
  readonly #tokens: Counter<'kind'>;
  readonly #charged: Counter;

  constructor({ requestsRunning, providersConnected }: MetricSources) {
    const registers = [this.#registry];
    this.#responses = new Counter({
      name: 'darkbloom_inference_responses_total',
      help: 'Answers to inference requests by HTTP status',
      labelNames: ['status'],
      registers,
    });
    this.#firstToken = new Histogram({
      name: 'darkbloom_first_token_seconds',
      help: 'From a request to its first content',
      buckets: FIRST_TOKEN_BUCKETS_S,
      registers,
    });
    this.#settled = new Counter({
      name: 'darkbloom_settled_requests_total',
      help: 'Completed requests by the route that was asked for',
      labelNames: ['route'],
      registers,
    });
    this.#refunded = new Counter({
      name: 'darkbloom_refunded_holds_total',
      help: 'Holds that went back whole, by reason',
      labelNames: ['reason'],
      registers,
    });
    this.#tokens = new Counter({
      name: 'darkbloom_tokens_total',
      help: 'Tokens of completed requests',
      labelNames: ['kind'],
      registers,
    });
    this.#charged = new Counter({
      name: 'darkbloom_charged_micro_usd_total',
      help: 'What completed requests cost, micro-USD',
      registers,
    });
    gauge('darkbloom_requests_running', 'Inference requests inside the coordinator', requestsRunning);
    gauge('darkbloom_providers_connected', 'Machines that are connected', providersConnected);
    gauge('darkbloom_resident_bytes', 'Memory of the process', () => process.memoryUsage.rss());
    gauge('darkbloom_cpu_seconds', 'CPU time of the process since it began', () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    function gauge(name: string, help: string, read: () => number): void {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    }
  }

  responded(status: number): void {
    this.#responses.inc({ status: String(status) });
  }

  firstToken(seconds: number): void {
    this.#firstToken.observe(seconds);
  }

  settled(route: RouteMode, tokens: { prompt: number; completion: number }, chargedMicroUsd: bigint): void {
    this.#settled.inc({ route });
    this.#tokens.inc({ kind: 'prompt' }, tokens.prompt);
    this.#tokens.inc({ kind: 'completion' }, tokens.completion);
    this.#charged.inc(Number(chargedMicroUsd));
  }

  refunded(reason: RefundReason): void {
    this.#refunded.inc({ reason });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
