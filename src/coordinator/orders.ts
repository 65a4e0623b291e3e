import type { ProviderMessage } from '../protocol/provider-messages.js';

export type OrderKind = 'load_model' | 'prefetch_model';
type Answer = Extract<ProviderMessage, { type: `${OrderKind}_status` }>;

/** An order to a machine, and what it last said of it. */
export interface Order {
  kind: OrderKind;
  build: string;
  /** `sent`, then in the machine's words: `started`, `downloading`, `succeeded`, `verified` or `failed`. */
  status: string;
  /** Of a download, bytes. */
  done?: number | undefined;
  total?: number | undefined;
  error?: string | undefined;
  /** When it was given, ms since the epoch. */
  at: number;
}

/** Orders that are remembered; the oldest is forgotten. */
const MAX_ORDERS = 100;
/** Of a machine's reason. */
const MAX_ERROR_CHARACTERS = 500;

/** The orders given over one connection. A machine may obey or decline them: it belongs to its owner. */
export class Orders {
  readonly #orders = new Map<string, Order>();

  get list(): Order[] {
    return [...this.#orders.values()];
  }

  given(kind: OrderKind, build: string, at: number): void {
    const name = `${kind} ${build}`;
    this.#orders.delete(name); // the newest stands last
    this.#orders.set(name, { kind, build, status: 'sent', at });
    const [oldest] = this.#orders.keys();
    if (this.#orders.size > MAX_ORDERS && oldest !== undefined) this.#orders.delete(oldest);
  }

  /** What nobody ordered is ignored. */
  answered(answer: Answer): void {
    const kind = answer.type === 'load_model_status' ? 'load_model' : 'prefetch_model';
    const order = this.#orders.get(`${kind} ${answer.model_id}`);
    if (order === undefined) return;
    order.status = answer.status;
    order.error = answer.error?.slice(0, MAX_ERROR_CHARACTERS);
    if (answer.type === 'load_model_status') return;
    order.done = answer.bytes_done ?? order.done;
    order.total = answer.bytes_total ?? order.total;
  }
}
