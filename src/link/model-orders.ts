import { toFailure } from '../errors.js';
import type { Connection } from './link.js';

interface OrdersOptions {
  isLoaded: (modelId: string) => boolean;
  /** @throws DarkbloomError when the model is unknown, does not fit or cannot be loaded. */
  load: (modelId: string) => Promise<void>;
  /** Throws what refuses new work now. */
  refuse: () => void;
}

/** Obeys `load_model`: started, then succeeded or failed; of a model that is loaded, succeeded at once. */
export class ModelOrders {
  readonly #options: OrdersOptions;
  /** What is being loaded, and the connection that the end is told over. A peer may order a model as often as it likes:
   *  it is loaded once. */
  readonly #loading = new Map<string, Connection>();

  constructor(options: OrdersOptions) {
    this.#options = options;
  }

  async obey(modelId: string, connection: Connection): Promise<void> {
    const { isLoaded, load, refuse } = this.#options;
    const about = { type: 'load_model_status', model_id: modelId } as const;
    try {
      refuse();
    } catch (error) {
      return connection.send({ ...about, ...failed(error) });
    }
    if (isLoaded(modelId)) return connection.send({ ...about, status: 'succeeded' });
    const isUnderWay = this.#loading.has(modelId);
    this.#loading.set(modelId, connection);
    await connection.send({ ...about, status: 'started' });
    if (isUnderWay) return;
    const end = await load(modelId).then(() => ({ status: 'succeeded' }) as const, failed);
    const asked = this.#loading.get(modelId) ?? connection;
    this.#loading.delete(modelId);
    await asked.send({ ...about, ...end });
  }
}

function failed(cause: unknown) {
  const { code, message } = toFailure(cause);
  const error =
    code === 'draining' ? 'provider draining for update' : code === 'model_not_found' ? 'no such model' : message;
  return { status: 'failed', error } as const;
}
