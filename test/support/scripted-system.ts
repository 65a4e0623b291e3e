import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { Coordinator } from '../../src/coordinator/coordinator.js';
import { Identity } from '../../src/crypto/identity.js';
import type { OperationEvent } from '../../src/inference/operations.js';
import type { ChatEvent, ChatRequest, Generator } from '../../src/inference/types.js';
import { Desk } from '../../src/link/desk.js';
import { Downloads } from '../../src/link/downloads.js';
import { Jobs } from '../../src/link/jobs.js';
import { Link } from '../../src/link/link.js';
import { silentLog } from '../../src/log.js';
import { Heartbeat, PrivacyCapabilities, Register } from '../../src/protocol/provider-messages.js';
import { systemClock } from '../../src/util/clock.js';
import { Lifetime } from '../../src/util/lifetime.js';
import { ownFixture } from './shared-fixtures.js';

export const MODEL = 'scripted';
const BUILD = 'local/scripted-f16';
const ROUTABLE_TIMEOUT_MS = 15_000;

const { register, heartbeat } = z
  .object({ messages: z.object({ register: Register, heartbeat: Heartbeat }) })
  .parse(ownFixture('wire/honest_provider.json')).messages;

type Play = (request: ChatRequest, signal: AbortSignal) => AsyncIterable<ChatEvent> | Iterable<ChatEvent>;

/** A real coordinator and a real provider that dials it, with sealed jobs between them over a real socket. Only what a
 *  model would write is the test's. */
export class ScriptedSystem implements AsyncDisposable, Generator {
  readonly coordinator: Coordinator;
  readonly apiKey: string;
  /** The SQLite file. */
  readonly database: string;
  /** What the machine was asked, the last one at the end. */
  readonly requests: ChatRequest[] = [];
  readonly #life: Lifetime;
  #play: Play = () => [];

  private constructor(coordinator: Coordinator, database: string, life: Lifetime) {
    this.coordinator = coordinator;
    this.database = database;
    this.apiKey = coordinator.accounts.keys.create(coordinator.owner.id, { name: 'test' }).secret;
    this.#life = life;
  }

  static async start(): Promise<ScriptedSystem> {
    const life = new Lifetime();
    const folder = mkdtempSync(join(tmpdir(), 'scripted-'));
    life.own(() => rmSync(folder, { recursive: true }));
    const log = silentLog();
    const coordinator = await Coordinator.start({
      database: join(folder, 'coordinator.db'),
      host: '127.0.0.1',
      port: 0,
      selfRouteDefault: 'self',
      readOwnerKey: () => undefined,
      version: '0.7.0',
      models: [{ alias: ALIAS, build: KNOWN_BUILD }],
      clock: systemClock,
      log,
    });
    life.own(() => coordinator.close());
    const system = new ScriptedSystem(coordinator, join(folder, 'coordinator.db'), life);
    await system.#link();
    return system;
  }

  async #link(): Promise<void> {
    const { coordinator } = this;
    const log = silentLog();
    const identity = new Identity();
    const refuse = () => undefined;
    const jobs = new Jobs({ generator: this, identity, refuse, clock: systemClock, log });
    const capabilities = PrivacyCapabilities.parse(register.privacy_capabilities);
    const posture = { sipEnabled: true, secureBootEnabled: true, rdmaDisabled: true, capabilities };
    const desk = new Desk({
      jobs,
      identity,
      models: [],
      posture: () => Promise.resolve(posture),
      isLoaded: () => false,
      load: () => Promise.resolve(),
      downloads: new Downloads({ models: [], fetch: undefined, refuse, clock: systemClock, log }),
      refuse,
      log,
    });
    const token = coordinator.accounts.mintProviderToken(coordinator.owner.id, 'test');
    const models = [{ id: BUILD, size_bytes: 1, model_type: 'text', quantization: 'F16', template_render_ok: true }];
    const link = new Link({
      coordinatorUrl: coordinator.url,
      register: () => ({ ...register, models, public_key: identity.publicKey, auth_token: token }),
      heartbeat: () => Promise.resolve({ ...heartbeat, backend_capacity: undefined }),
      receive: (message, connection) => desk.receive(message, connection),
      lost: () => desk.lost(),
      clock: systemClock,
      random: Math.random,
      log,
    });
    this.#life.own(() => link.close());
    link.start();
    await coordinator.untilRoutable(identity.publicKey, AbortSignal.timeout(ROUTABLE_TIMEOUT_MS));
  }

  get baseUrl(): string {
    return `${this.coordinator.url}/v1`;
  }

  /** What the machine answers from now on. */
  plays(play: Play): void {
    this.#play = play;
  }

  async *operate(): AsyncGenerator<OperationEvent> {
    await Promise.reject(new Error('This system answers chat alone.'));
  }

  async *generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    this.requests.push(request);
    yield* this.#play(request, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life.close();
  }
}

const ALIAS = { id: MODEL, displayName: MODEL, desiredBuild: BUILD, retiredBuilds: [] };
const KNOWN_BUILD = {
  id: BUILD,
  displayName: MODEL,
  family: MODEL,
  architecture: 'llama',
  quantization: 'F16',
  sizeBytes: 1,
  contextLength: 2_048,
  maxOutputLength: 256,
  minRamGb: 1,
  files: [],
  source: 'test',
  capabilities: ['chat'],
  active: true,
  createdAt: 0,
  version: 'v1',
  description: '',
  runtimeParameters: {},
  metadata: {},
};
