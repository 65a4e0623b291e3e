import { z } from 'zod';
import { auditBooks } from '../../src/coordinator/audit.js';
import type { Price } from '../../src/coordinator/billing.js';
import type { CoordinatorOptions } from '../../src/coordinator/coordinator.js';
import type { LedgerRow } from '../../src/coordinator/ledger.js';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Registry, type Build } from '../../src/coordinator/registry.js';
import { Database } from '../../src/database.js';
import { FakeMachine, type Play } from '../support/fake-machine.js';
import { StartedCoordinator } from './started-coordinator.js';

export const BUILD = 'local/tiny';
export const ALIAS = 'tiny';
/** Its prompt, as it counts for a hold. */
const PROMPT = [{ role: 'user', content: 'Hello!' }];
const PROMPT_BYTES = BigInt(JSON.stringify(PROMPT).length);

const MODEL: Build = {
  id: BUILD,
  displayName: 'Tiny',
  family: 'tiny',
  architecture: 'llama',
  quantization: 'F16',
  sizeBytes: 1,
  contextLength: 2_048,
  maxOutputLength: 0,
  minRamGb: 1,
  files: [],
  source: '',
  version: 'v1',
  description: '',
  runtimeParameters: {},
  metadata: {},
  capabilities: [],
  active: true,
  createdAt: 0,
};

/** A real coordinator with a consumer, a stranger who may serve, and machines that answer over a real socket as a test
 *  says. */
export class PaidHouse implements AsyncDisposable {
  readonly started: StartedCoordinator;
  readonly consumer: { id: string; key: string; keyId: string };
  readonly stranger: { id: string };
  readonly #machines: FakeMachine[] = [];

  private constructor(started: StartedCoordinator) {
    this.started = started;
    const { accounts } = started.coordinator;
    const consumer = accounts.add('consumer', { acceptUnattested: true });
    const { secret, key } = accounts.keys.create(consumer.id, {});
    this.consumer = { id: consumer.id, key: secret, keyId: key.id };
    this.stranger = accounts.add('stranger', { acceptUnattested: true });
  }

  static async open(options: Partial<CoordinatorOptions> & { maxOutputLength?: number } = {}): Promise<PaidHouse> {
    const { maxOutputLength = 0, ...rest } = options;
    const alias = { id: ALIAS, displayName: 'Tiny', desiredBuild: BUILD, retiredBuilds: [] };
    const models = [{ build: { ...MODEL, maxOutputLength }, alias }];
    return new PaidHouse(await StartedCoordinator.start({ models, ...rest }));
  }

  get ledger() {
    return this.started.coordinator.ledger;
  }

  /** Changes the books behind the coordinator, as a command or another process would. */
  behind(change: (database: Database) => void): void {
    const database = new Database(this.started.database, MIGRATIONS);
    change(database);
    database.close();
  }

  setPrice(price: Price): void {
    this.behind((database) => new Registry(database).putPlatformPrice(BUILD, price));
  }

  /** A machine of the consumer, or of the stranger. */
  async machineOf(owner: 'consumer' | 'stranger', play: Play): Promise<FakeMachine> {
    const { accounts, url } = this.started.coordinator;
    const linkToken = accounts.mintProviderToken(this[owner].id, owner);
    const machine = await FakeMachine.dial({ coordinatorUrl: url, linkToken, build: BUILD, play });
    this.#machines.push(machine);
    return machine;
  }

  /** Asks as the consumer. */
  async ask(body: object, options: { route?: string; signal?: AbortSignal } = {}): Promise<Response> {
    const { route = 'none', signal = null } = options;
    return await fetch(`${this.started.coordinator.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.consumer.key}`,
        'content-type': 'application/json',
        'x-darkbloom-route': route,
      },
      body: JSON.stringify({ model: ALIAS, messages: PROMPT, ...body }),
      signal,
    });
  }

  /** What moved on the consumer's account after the first `known` rows, without what it earned. */
  moves(known: number): LedgerRow[] {
    const rows = this.ledger.rows(this.consumer.id).slice(known);
    return rows.filter(({ kind }) => kind === 'charge' || kind === 'refund');
  }

  /** Resolves when no request runs any more; none is taken after that. */
  async ended(): Promise<void> {
    await this.started.coordinator.drain();
  }

  audit() {
    return auditBooks(this.started.database);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const machine of this.#machines) await machine[Symbol.asyncDispose]();
    await this.started[Symbol.asyncDispose]();
  }
}

/** The `max_tokens` with which `PROMPT` is held for this amount. */
export function boundFor(hold: bigint, price: Price): number {
  const prompt = (PROMPT_BYTES * price.input) / 1_000_000n;
  return Number(((hold - prompt) * 1_000_000n + price.output - 1n) / price.output);
}

export const Answered = z.object({
  id: z.string(),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }),
});
export const Refused = z.object({ error: z.object({ type: z.string(), code: z.string() }) });
