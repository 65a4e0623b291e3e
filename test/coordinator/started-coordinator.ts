import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Coordinator } from '../../src/coordinator/coordinator.js';
import { silentLog } from '../../src/log.js';
import { ManualClock } from '../support/manual-clock.js';

/** A coordinator without models on a port of its own, with its own books and a clock that the test turns. */
export class StartedCoordinator implements AsyncDisposable {
  readonly coordinator: Coordinator;
  readonly clock: ManualClock;
  readonly ownerToken: string;
  readonly #folder: string;

  private constructor(coordinator: Coordinator, clock: ManualClock, folder: string) {
    this.coordinator = coordinator;
    this.clock = clock;
    this.ownerToken = coordinator.accounts.mintLoginToken(coordinator.owner.id);
    this.#folder = folder;
  }

  static async start(): Promise<StartedCoordinator> {
    const folder = mkdtempSync(join(tmpdir(), 'coordinator-'));
    const clock = new ManualClock();
    const coordinator = await Coordinator.start({
      database: join(folder, 'coordinator.db'),
      host: '127.0.0.1',
      port: 0,
      selfRouteDefault: 'self',
      version: '0.7.0',
      models: [],
      readOwnerKey: () => undefined,
      clock,
      log: silentLog(),
    });
    return new StartedCoordinator(coordinator, clock, folder);
  }

  /** One call with a JSON body and a bearer token. */
  async call(method: string, path: string, { token, body }: { token?: string; body?: unknown } = {}) {
    const response = await fetch(`${this.coordinator.url}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const json: unknown = await response.json();
    return { status: response.status, json };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.coordinator.close();
    rmSync(this.#folder, { recursive: true });
  }
}
