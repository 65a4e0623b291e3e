import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KnownModel } from '../../src/coordinator/catalog-models.js';
import { Coordinator, type CoordinatorOptions } from '../../src/coordinator/coordinator.js';
import { UsageRow } from '../../src/coordinator/ledger.js';
import { readDatabase } from '../../src/database.js';
import { silentLog } from '../../src/log.js';
import { ManualClock } from '../support/manual-clock.js';

interface CallOptions {
  token?: string | undefined;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** The body as it is, no JSON. */
  asText?: boolean;
}

/** A model that a coordinator knows, under the name `tiny`. */
export function knownModel(id: string, alias = 'tiny'): KnownModel {
  return {
    alias: { id: alias, displayName: alias, desiredBuild: id, retiredBuilds: [] },
    build: {
      id,
      displayName: alias,
      family: 'tiny',
      architecture: 'llama',
      quantization: 'F16',
      sizeBytes: 1,
      contextLength: 2_048,
      maxOutputLength: 256,
      minRamGb: 0,
      files: [],
      source: 'own',
      capabilities: ['chat'],
      active: true,
      createdAt: 0,
      version: 'v1',
      description: '',
      runtimeParameters: {},
      metadata: {},
    },
  };
}

/** A coordinator on a port of its own, with its own books and a clock that the test turns. */
export class StartedCoordinator implements AsyncDisposable {
  readonly coordinator: Coordinator;
  readonly clock: ManualClock;
  readonly ownerToken: string;
  /** The SQLite file. */
  readonly database: string;
  readonly #folder: string;

  private constructor(coordinator: Coordinator, clock: ManualClock, folder: string) {
    this.coordinator = coordinator;
    this.clock = clock;
    this.ownerToken = coordinator.accounts.mintLoginToken(coordinator.owner.id);
    this.database = databaseIn(folder);
    this.#folder = folder;
  }

  static async start(changes: Partial<CoordinatorOptions> = {}): Promise<StartedCoordinator> {
    const folder = mkdtempSync(join(tmpdir(), 'coordinator-'));
    const clock = new ManualClock();
    const coordinator = await Coordinator.start({
      database: databaseIn(folder),
      host: '127.0.0.1',
      port: 0,
      selfRouteDefault: 'self',
      version: '0.7.0',
      models: [],
      readOwnerKey: () => undefined,
      clock,
      log: silentLog(),
      ...changes,
    });
    return new StartedCoordinator(coordinator, clock, folder);
  }

  /** The account's rows in the books, the newest first. */
  usage(accountId: string): UsageRow[] {
    const sql = 'SELECT * FROM usage WHERE account_id = ? ORDER BY rowid DESC';
    return readDatabase(this.database, (books) => books.all(sql, accountId).map((row) => UsageRow.parse(row)));
  }

  /** One call with a JSON body and a bearer token. */
  async call(method: string, path: string, options: CallOptions = {}) {
    const { status, json } = await this.ask(method, path, options);
    return { status, json };
  }

  /** The same, with the headers of the answer. */
  async ask(method: string, path: string, { token, body, headers, signal, asText = false }: CallOptions = {}) {
    const response = await fetch(`${this.coordinator.url}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(signal === undefined ? {} : { signal }),
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const json: unknown = asText ? await response.text() : await response.json();
    return { status: response.status, headers: response.headers, json };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.coordinator.close();
    rmSync(this.#folder, { recursive: true });
  }
}

function databaseIn(folder: string): string {
  return join(folder, 'coordinator.db');
}
