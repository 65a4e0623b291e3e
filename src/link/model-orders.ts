import { toFailure } from '../errors.js';
import type { Connection } from './link.js';

interface OrdersOptions {
  /** @throws DarkbloomError when the model is unknown, does not fit or cannot be loaded. */
  load: (modelId: string) => Promise<void>;
  /** Throws what refuses new work now. */
  refuse: () => void;
}

/** Answers `load_model`: started, then succeeded or failed. */
export async function obeyLoad(
  modelId: string,
  connection: Connection,
  { load, refuse }: OrdersOptions,
): Promise<void> {
  const status = { type: 'load_model_status', model_id: modelId } as const;
  try {
    refuse();
    await connection.send({ ...status, status: 'started' });
    await load(modelId);
    await connection.send({ ...status, status: 'succeeded' });
  } catch (error) {
    const { code, message } = toFailure(error);
    const told =
      code === 'draining' ? 'provider draining for update' : code === 'model_not_found' ? 'no such model' : message;
    await connection.send({ ...status, status: 'failed', error: told });
  }
}
