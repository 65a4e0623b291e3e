import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Coordinator } from '../../src/coordinator/coordinator.js';
import type { Engine, Operation, OperationEvent } from '../../src/inference/operations.js';
import type { ChatEvent, ChatRequest } from '../../src/inference/types.js';
import { silentLog } from '../../src/log.js';
import { systemClock } from '../../src/util/clock.js';
import { Lifetime } from '../../src/util/lifetime.js';
import { knownModel } from '../coordinator/started-coordinator.js';
import { LinkedProvider } from './linked-provider.js';

export const MODEL = 'scripted';
const BUILD = 'local/scripted-f16';
const ROWS = 4;
const ROUTABLE_TIMEOUT_MS = 15_000;

type Play = (request: ChatRequest, signal: AbortSignal) => AsyncIterable<ChatEvent> | Iterable<ChatEvent>;

/** Answers chat as a test says, and nothing else. */
class PlayedEngine implements Engine {
  readonly #play: Play;

  constructor(play: Play) {
    this.#play = play;
  }

  async *generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    yield* this.#play(request, signal);
  }

  async *operate(): AsyncGenerator<OperationEvent> {
    await Promise.reject(new Error('This machine answers chat alone.'));
  }
}

/** A real coordinator and a linked machine of its owner, with sealed jobs between them over the real wire. Only what the
 *  model says is the test's, which may change it between two requests. */
export class ScriptedSystem implements AsyncDisposable, Engine {
  readonly coordinator: Coordinator;
  readonly apiKey: string;
  /** The SQLite file. */
  readonly database: string;
  /** What the machine was asked, the last one at the end. */
  readonly requests: ChatRequest[] = [];
  readonly #life: Lifetime;
  #engine: Engine = new PlayedEngine(() => []);

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
    const database = join(folder, 'coordinator.db');
    const coordinator = await Coordinator.start({
      database,
      host: '127.0.0.1',
      port: 0,
      selfRouteDefault: 'self',
      readOwnerKey: () => undefined,
      version: '0.7.0',
      models: [knownModel(BUILD, MODEL)],
      clock: systemClock,
      log: silentLog(),
    });
    life.own(() => coordinator.close());
    const system = new ScriptedSystem(coordinator, database, life);
    const provider = new LinkedProvider({
      coordinatorUrl: coordinator.url,
      linkToken: coordinator.accounts.mintProviderToken(coordinator.owner.id, 'test'),
      build: BUILD,
      rows: ROWS,
      engine: system,
      clock: systemClock,
      random: Math.random,
    });
    life.own(() => provider[Symbol.asyncDispose]());
    await coordinator.untilRoutable(provider.identity.publicKey, AbortSignal.timeout(ROUTABLE_TIMEOUT_MS));
    return system;
  }

  get baseUrl(): string {
    return `${this.coordinator.url}/v1`;
  }

  /** Who answers from now on. */
  play<E extends Engine>(engine: E): E {
    this.#engine = engine;
    return engine;
  }

  /** What is answered to chat from now on. */
  plays(play: Play): void {
    this.play(new PlayedEngine(play));
  }

  operate(operation: Operation, signal: AbortSignal): AsyncIterable<OperationEvent> {
    return this.#engine.operate(operation, signal);
  }

  generate(request: ChatRequest, signal: AbortSignal): AsyncIterable<ChatEvent> {
    this.requests.push(request);
    return this.#engine.generate(request, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life.close();
  }
}
