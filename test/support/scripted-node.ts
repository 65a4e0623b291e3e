import { Coordinator } from '../../src/coordinator/coordinator.js';
import { Identity } from '../../src/crypto/identity.js';
import type { Engine } from '../../src/inference/operations.js';
import { Desk } from '../../src/link/desk.js';
import { Downloads } from '../../src/link/downloads.js';
import { Jobs } from '../../src/link/jobs.js';
import { Link } from '../../src/link/link.js';
import { silentLog } from '../../src/log.js';
import { readPosture } from '../../src/machine/posture.js';
import type { Heartbeat, Register } from '../../src/protocol/provider-messages.js';
import { systemClock } from '../../src/util/clock.js';
import { TemporaryHome } from './temporary-home.js';
import { HARDWARE } from './sample-hardware.js';

export const SCRIPTED_MODEL = 'local/scripted';

interface Parts {
  coordinator: Coordinator;
  link: Link;
  home: TemporaryHome;
}

/** A coordinator and a linked machine of its owner, over the real wire; only the model is a script, which a test may
 *  change between two requests. */
export class ScriptedNode implements AsyncDisposable {
  readonly key: string;
  readonly url: string;
  readonly #parts: Parts;
  readonly #engine: { current: Engine };

  private constructor(parts: Parts, engine: { current: Engine }) {
    const { coordinator } = parts;
    this.#parts = parts;
    this.#engine = engine;
    this.url = coordinator.url;
    this.key = coordinator.accounts.mintLoginToken(coordinator.owner.id);
  }

  static async start(first: Engine): Promise<ScriptedNode> {
    const home = new TemporaryHome();
    const log = silentLog();
    const clock = systemClock;
    const coordinator = await Coordinator.start({
      database: home.home.database,
      host: '127.0.0.1',
      port: 0,
      selfRouteDefault: 'self',
      readOwnerKey: () => undefined,
      version: '0.7.0',
      models: [],
      clock,
      log,
    });
    const engine = { current: first };
    const identity = new Identity();
    const generator: Engine = {
      generate: (request, signal) => engine.current.generate(request, signal),
      operate: (operation, signal) => engine.current.operate(operation, signal),
    };
    const refuse = () => undefined;
    const jobs = new Jobs({ generator, identity, refuse, clock, log });
    const posture = () =>
      readPosture({ run: () => Promise.resolve({ code: 'missing', stdout: '', stderr: '' }) }, 'linux', {});
    const isLoaded = () => false;
    const load = () => Promise.resolve();
    const downloads = new Downloads({ models: [], fetch: undefined, refuse, clock, log });
    const desk = new Desk({ jobs, identity, models: [], posture, isLoaded, load, downloads, refuse, log });
    const linkToken = coordinator.accounts.mintProviderToken(coordinator.owner.id, 'scripted');
    const link = new Link({
      coordinatorUrl: coordinator.url,
      register: () => registerFrame(identity.publicKey, linkToken),
      heartbeat: () => Promise.resolve(HEARTBEAT),
      receive: (message, connection) => desk.receive(message, connection),
      lost: () => desk.lost(),
      clock,
      random: Math.random,
      log,
    });
    link.start();
    await coordinator.untilRoutable(identity.publicKey, AbortSignal.timeout(ROUTABLE_TIMEOUT_MS));
    return new ScriptedNode({ coordinator, link, home }, engine);
  }

  /** Who answers from now on. */
  play<T extends Engine>(engine: T): T {
    this.#engine.current = engine;
    return engine;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { coordinator, link, home } = this.#parts;
    await link.close();
    await coordinator.close();
    home[Symbol.dispose]();
  }
}

const ROUTABLE_TIMEOUT_MS = 15_000;

const HEARTBEAT: Heartbeat = {
  type: 'heartbeat',
  status: 'idle',
  stats: { requests_served: 0, tokens_generated: 0 },
};

function registerFrame(publicKey: string, linkToken: string): Register {
  return {
    type: 'register',
    hardware: HARDWARE,
    models: [{ id: SCRIPTED_MODEL, size_bytes: 1, model_type: 'text', quantization: 'F16' }],
    backend: 'llama.cpp',
    public_key: publicKey,
    encrypted_response_chunks: true,
    auth_token: linkToken,
    private_only: true,
  };
}
