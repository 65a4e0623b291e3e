import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { stream } from 'hono/streaming';
import { createServer } from 'node:http';
import { Coordinator } from '../src/coordinator/coordinator.js';
import { Identity } from '../src/crypto/identity.js';
import type { Engine } from '../src/inference/operations.js';
import type { ChatEvent } from '../src/inference/types.js';
import { Desk } from '../src/link/desk.js';
import { Downloads } from '../src/link/downloads.js';
import { Jobs } from '../src/link/jobs.js';
import { Link } from '../src/link/link.js';
import { silentLog } from '../src/log.js';
import { systemCommands } from '../src/machine/commands.js';
import { readPosture } from '../src/machine/posture.js';
import type { Heartbeat, Register } from '../src/protocol/provider-messages.js';
import { systemClock } from '../src/util/clock.js';
import { VERSION } from '../src/util/version.js';
import { closedLoop, type LoopOrder } from './closed-loop.js';
import { BENCH_ALIAS, MACHINE_ROWS, type PartOrder, type PartReport } from './coordinator-orders.js';

/** The processes of the coordinator's suite: the parent sends each one order, and the load generator loads. */

const BENCH_BUILD = 'local/null';
const USAGE = { promptTokens: 20, completionTokens: 2 };

const log = silentLog();

async function coordinator(database: string): Promise<string> {
  const build = {
    id: BENCH_BUILD,
    displayName: 'Null',
    family: '',
    architecture: '',
    quantization: '',
    sizeBytes: 1,
    contextLength: 2_048,
    maxOutputLength: 256,
    minRamGb: 1,
    files: [],
    source: '',
    capabilities: [],
    active: true,
    createdAt: 0,
    version: 'v1',
    description: '',
    runtimeParameters: {},
    metadata: {},
  };
  const alias = { id: BENCH_ALIAS, displayName: 'Null', desiredBuild: BENCH_BUILD, retiredBuilds: [] };
  const started = await Coordinator.start({
    database,
    host: '127.0.0.1',
    port: 0,
    selfRouteDefault: 'none',
    readOwnerKey: () => undefined,
    version: VERSION,
    models: [{ build, alias }],
    clock: systemClock,
    log,
  });
  return started.url;
}

/** Writes two words at once, to show what everything around a model costs. */
const nullEngine: Engine = {
  async *generate(): AsyncGenerator<ChatEvent> {
    yield { type: 'accepted' };
    yield { type: 'started', promptTokens: USAGE.promptTokens };
    yield { type: 'text', text: 'Hello' };
    yield { type: 'text', text: ' there' };
    yield { type: 'done', finishReason: 'stop', stopSequence: null, usage: USAGE };
  },
  async *operate() {
    yield { type: 'accepted' };
    throw new Error('Nothing is asked here but chat.');
  },
};

/** The provider's own code from its socket to where the engine would be. Resolves when every machine can be routed to. */
async function machines(coordinatorUrl: string, linkTokens: readonly string[]): Promise<string> {
  await Promise.all(linkTokens.map((token) => machine(coordinatorUrl, token)));
  return coordinatorUrl;
}

async function machine(coordinatorUrl: string, linkToken: string): Promise<void> {
  const identity = new Identity();
  const refuse = () => undefined;
  const jobs = new Jobs({ generator: nullEngine, identity, refuse, clock: systemClock, log });
  const posture = () => readPosture(systemCommands, process.platform, {});
  const isLoaded = () => false;
  const load = () => Promise.resolve();
  const downloads = new Downloads({ models: [], fetch: undefined, refuse, clock: systemClock, log });
  const desk = new Desk({ jobs, identity, models: [], posture, isLoaded, load, downloads, refuse, log });
  const answered = new Promise<void>((resolve) => {
    const link = new Link({
      coordinatorUrl,
      register: () => registerFrame(identity.publicKey, linkToken),
      heartbeat: () => Promise.resolve(heartbeatFrame(jobs)),
      receive: (message, connection) =>
        desk.receive(message, {
          send: async (frame) => {
            await connection.send(frame);
            if (frame.type === 'attestation_response') resolve();
          },
        }),
      lost: () => desk.lost(),
      clock: systemClock,
      random: Math.random,
      log,
    });
    link.start();
  });
  await answered;
}

function registerFrame(publicKey: string, linkToken: string): Register {
  return {
    type: 'register',
    hardware: {
      machine_model: 'bench',
      chip_name: 'bench',
      chip_family: 'bench',
      chip_tier: 'bench',
      memory_gb: 8,
      memory_available_gb: 8,
      cpu_cores: { total: 1, performance: 1, efficiency: 0 },
      gpu_cores: 0,
      memory_bandwidth_gbs: 0,
    },
    models: [{ id: BENCH_BUILD, size_bytes: 1, model_type: 'text', quantization: 'none' }],
    backend: 'null',
    public_key: publicKey,
    encrypted_response_chunks: true,
    auth_token: linkToken,
  };
}

function heartbeatFrame(jobs: Jobs): Heartbeat {
  const slot = { model: BENCH_BUILD, state: 'running', active_tokens: 0, max_tokens_potential: 0 };
  return {
    type: 'heartbeat',
    status: 'serving',
    stats: jobs.stats,
    system_metrics: { memory_pressure: 0, cpu_usage: 0, thermal_state: 'nominal' },
    backend_capacity: {
      slots: [{ ...slot, num_running: jobs.running, num_waiting: 0, max_concurrency: MACHINE_ROWS }],
      gpu_memory_active_gb: 0,
      gpu_memory_peak_gb: 0,
      gpu_memory_cache_gb: 0,
      total_memory_gb: 8,
    },
  };
}

/** The same HTTP library reading the same JSON and writing the same two words: what no coordinator can go below. */
async function bare(): Promise<string> {
  const app = new Hono();
  const data = (delta: object) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`;
  app.post('/v1/chat/completions', async (context) => {
    await context.req.json();
    context.header('Content-Type', 'text/event-stream');
    return stream(context, async (out) => {
      await out.write(data({ content: 'Hello' }));
      await out.write(data({ content: ' there' }));
      await out.write('data: [DONE]\n\n');
    });
  });
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer((request, response) => void listener(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
}

async function start(order: PartOrder): Promise<string> {
  switch (order.part) {
    case 'coordinator':
      return coordinator(order.database);
    case 'machines':
      return machines(order.coordinatorUrl, order.linkTokens);
    case 'bare':
      return bare();
    case 'load':
      return '';
    default:
      return order satisfies never;
  }
}

function report(message: PartReport): void {
  process.send?.(message);
}

process.on('message', (order: PartOrder | LoopOrder) => {
  if ('part' in order) void start(order).then((url) => report({ type: 'ready', url }));
  else void closedLoop(order).then((result) => report({ type: 'ran', result }));
});
process.on('disconnect', () => process.exit(0));
process.on('SIGINT', () => undefined); // the parent decides
