import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Identity } from '../../src/crypto/identity.js';
import { DarkbloomError } from '../../src/errors.js';
import type { Engine, OperationEvent } from '../../src/inference/operations.js';
import type { ChatEvent, ChatRequest } from '../../src/inference/types.js';
import { Desk } from '../../src/link/desk.js';
import { Downloads } from '../../src/link/downloads.js';
import { Jobs } from '../../src/link/jobs.js';
import { Link } from '../../src/link/link.js';
import { heartbeatFrame, registerFrame } from '../../src/link/reports.js';
import { silentLog } from '../../src/log.js';
import { readPosture } from '../../src/machine/posture.js';
import type { Clock } from '../../src/util/clock.js';
import { HARDWARE } from './sample-hardware.js';

const noCommands = { run: () => Promise.resolve({ code: 'missing', stdout: '', stderr: '' } as const) };

interface LinkedProviderOptions<E extends Engine> {
  coordinatorUrl: string;
  linkToken: string;
  build: string;
  /** Requests that it answers at once. */
  rows: number;
  /** In place of a model. */
  engine: E;
  clock: Clock;
  random: () => number;
}

/** A provider with a real link, real jobs and real seals; only the model is played. */
export class LinkedProvider<E extends Engine> implements AsyncDisposable {
  readonly identity = new Identity();
  readonly engine: E;
  readonly jobs: Jobs;
  readonly link: Link;

  constructor({ coordinatorUrl, linkToken, build, rows, engine, clock, random }: LinkedProviderOptions<E>) {
    const { identity } = this;
    const log = silentLog();
    const refuse = () => undefined;
    this.engine = engine;
    this.jobs = new Jobs({ generator: engine, identity, refuse, clock, log });
    const { jobs } = this;
    const posture = () => readPosture(noCommands, 'linux', {});
    const isLoaded = () => false;
    const load = () => Promise.resolve();
    const downloads = new Downloads({ models: [], fetch: undefined, refuse, clock, log });
    const desk = new Desk({ jobs, identity, models: [], posture, isLoaded, load, downloads, refuse, log });
    this.link = new Link({
      coordinatorUrl,
      register: () => ({
        ...registerFrame({
          hardware: HARDWARE,
          models: [],
          capabilities: {
            text_backend_inprocess: false,
            text_proxy_disabled: true,
            python_runtime_locked: true,
            dangerous_modules_blocked: true,
            sip_enabled: false,
            anti_debug_enabled: false,
            core_dumps_disabled: true,
            env_scrubbed: true,
          },
          version: '0.7.0',
          publicKey: identity.publicKey,
          linkToken,
          serveOthers: true,
        }),
        models: [{ id: build, size_bytes: 1, model_type: 'text', quantization: 'F16' }],
      }),
      heartbeat: () => {
        const beat = heartbeatFrame({
          slots: [],
          kvBytesPerToken: () => 0,
          metrics: { memory_pressure: 0, cpu_usage: 0, thermal_state: 'nominal' },
          memory: { limit: 0, used: 0, peak: 0, available: 0 },
          stats: jobs.stats,
          closed: false,
        });
        const { running } = jobs;
        const slot = { model: build, state: 'idle', active_tokens: 0, max_tokens_potential: 0, max_concurrency: rows };
        const slots = [{ ...slot, num_running: Math.min(rows, running), num_waiting: Math.max(0, running - rows) }];
        return Promise.resolve({
          ...beat,
          ...(beat.backend_capacity === undefined ? {} : { backend_capacity: { ...beat.backend_capacity, slots } }),
        });
      },
      receive: (message, connection) => desk.receive(message, connection),
      lost: () => desk.lost(),
      clock,
      random,
      log,
    });
    this.link.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.link.close();
    this.jobs.abortAll();
    await this.jobs.settled();
  }
}

/** What is written for a prompt of this number. */
export function numbersTo(count: number): string {
  return Array.from({ length: count }, (_, index) => `${index} `).join('');
}

/** Counts as far as it is asked, a number to a token, at its own pace; `break N` breaks after N. */
export class CountingGenerator implements Engine {
  readonly #random: () => number;
  /** Requests it is at work on. */
  running = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  async *operate(): AsyncGenerator<OperationEvent> {
    await Promise.reject(new Error('This machine answers chat alone.'));
  }

  async *generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const [word, figure] = (request.messages.at(-1)?.content ?? '').split(' ');
    const count = Number(figure);
    const usage = (completionTokens: number) => ({ promptTokens: 10, completionTokens });
    this.running++;
    try {
      yield { type: 'accepted' };
      if (word === 'hang' && !signal.aborted) await once(signal, 'abort');
      yield { type: 'started', promptTokens: 10 };
      for (let written = 0; written < count; written++) {
        for (let turns = Math.floor(this.#random() * 4); turns > 0; turns--) await nextTurn();
        if (signal.aborted) {
          yield { type: 'cancelled', usage: usage(written) };
          return;
        }
        yield { type: 'text', text: `${written} ` };
      }
      if (signal.aborted) yield { type: 'cancelled', usage: usage(count) };
      else if (word === 'break') throw new DarkbloomError('runner_died', 'the process that ran the model ended');
      else yield { type: 'done', finishReason: 'stop', stopSequence: null, usage: usage(count) };
    } finally {
      this.running--;
    }
  }
}
