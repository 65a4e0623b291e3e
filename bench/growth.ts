import type { Lifetime } from '../src/util/lifetime.js';
import { benchModel, tinyModel } from './bench-model.js';
import type { Series } from './compare.js';
import { DaemonProcess } from './daemon-process.js';
import { figuresOf, stepsMs } from './figures.js';
import { ask, steady } from './loads.js';
import { LoadGenerator } from './load-generator.js';
import type { Options } from './options.js';
import type { Recording } from './plan.js';
import { useOfDaemon } from './processes.js';
import { seeded } from './seeded.js';
import { median, quantile } from './statistics.js';

const ROWS = [1, 2, 4, 8, 12, 16];
const PROMPT_TOKENS = [100, 400, 1_600, 4_000, 8_000];
const LOADED_MODELS = [1, 2, 4];
const WAITING_CLIENTS = [1, 10, 100, 1_000];

const MIB = 1024 ** 2;

/** How cost grows with what there is more of. */
export async function growth(options: Options, life: Lifetime, progress: (line: string) => void): Promise<Series[]> {
  const series: Series[] = [];
  const add = (load: string, contender: string, figures: Readonly<Record<string, number>>) => {
    for (const [figure, value] of Object.entries(figures)) series.push({ load, contender, figure, values: [value] });
    const words = Object.entries(figures).map(([name, value]) => `${name} ${value.toPrecision(3)}`);
    progress(`${load} ${contender}: ${words.join(', ')}`);
  };
  await growWithRows(options, add);
  await growWithPrompt(options, add, progress);
  await growWithModels(options, life, add);
  await growWithClients(options, life, add);
  return series;
}

type Add = (load: string, contender: string, figures: Readonly<Record<string, number>>) => void;

async function growWithRows({ threads, seed, model, contextTokens }: Options, add: Add): Promise<void> {
  const rows = Math.max(...ROWS);
  const spec = { kind: 'runner', model: { path: model ?? benchModel(), rows, contextTokens, threads } } as const;
  const generator = await LoadGenerator.open(spec);
  try {
    for (const streams of ROWS) {
      const load = steady(streams);
      const { tokensPerSecond = NaN, stepP50Ms = NaN } = figuresOf(load.name, await generator.drive(load.plan(seed)));
      add('rows', `${streams} rows`, { tokensPerSecond, stepMs: stepP50Ms, stepMsPerRow: stepP50Ms / streams });
    }
  } finally {
    await generator.close();
  }
}

async function growWithPrompt(
  { threads, seed, model }: Options,
  add: Add,
  progress: (line: string) => void,
): Promise<void> {
  const contextTokens = Math.max(...PROMPT_TOKENS) + 64;
  const spec = { kind: 'runner', model: { path: model ?? benchModel(), rows: 1, contextTokens, threads } } as const;
  const generator = await LoadGenerator.open(spec);
  try {
    for (const promptTokens of PROMPT_TOKENS) {
      const { requests } = await generator.drive([[[ask(seeded(seed), 'prompt', promptTokens, 32)]]]);
      const [request] = requests;
      if (request?.outcome !== 'done') {
        progress(`prompt of ${promptTokens} tokens: ${request?.reason ?? 'not sent'}`);
        continue;
      }
      const { sentMs, textMs, promptTokens: counted } = request;
      const ttftMs = (textMs[0] ?? NaN) - sentMs;
      add('prompt', `${counted} tokens`, {
        ttftMs,
        promptTokensPerSecond: (counted / ttftMs) * 1_000,
        stepMs: median(stepsMs(request)),
      });
    }
  } finally {
    await generator.close();
  }
}

/** The same tiny model under several names: the daemon's part, not the models' sizes. */
async function growWithModels({ threads, seed }: Options, life: Lifetime, add: Add): Promise<void> {
  const path = tinyModel();
  const names = Array.from({ length: Math.max(...LOADED_MODELS) }, (_, index) => `tiny-${index}`);
  const models = Object.fromEntries(names.map((name) => [name, path]));
  const daemon = await DaemonProcess.start({ mode: 'local', models, rows: 4, contextTokens: 1_024, threads });
  life.own(() => daemon.stop());
  const { baseUrl, apiKey, pid } = daemon;
  for (const [index, name] of names.entries()) {
    const generator = await LoadGenerator.open({ kind: 'http', baseUrl, apiKey, model: name });
    const random = seeded(seed);
    const first = await generator.drive([[[ask(random, 'first', 32, 2)]]]);
    const next = await generator.drive([[Array.from({ length: 20 }, () => ask(random, 'next', 32, 2))]]);
    await generator.close();
    if (!LOADED_MODELS.includes(index + 1)) continue;
    const { daemon: use, runners } = useOfDaemon(pid);
    add('models', `${index + 1} loaded`, {
      firstRequestMs: median(ttfts(first)),
      nextRequestMs: median(ttfts(next)),
      daemonMiB: use.residentBytes / MIB,
      runnersMiB: runners.residentBytes / MIB,
    });
  }
}

/** So many ask at the same moment; the line has a bound, so most are refused. What matters: how fast they hear it, and
 *  how long those who are served take. */
async function growWithClients({ threads, seed }: Options, life: Lifetime, add: Add): Promise<void> {
  const order = { mode: 'local', models: { tiny: tinyModel() }, rows: 8, contextTokens: 1_024, threads } as const;
  const daemon = await DaemonProcess.start(order);
  life.own(() => daemon.stop());
  const { baseUrl, apiKey, pid } = daemon;
  const generator = await LoadGenerator.open({ kind: 'http', baseUrl, apiKey, model: 'tiny' });
  life.own(() => generator.close());
  await generator.drive([[[ask(seeded(seed), 'warm-up', 32, 2)]]]);
  for (const clients of WAITING_CLIENTS) {
    const random = seeded(seed);
    const before = useOfDaemon(pid).daemon.cpuSeconds;
    const plan = [Array.from({ length: clients }, () => [ask(random, 'client', 64, 64)])];
    const { requests, wallMs } = await generator.drive(plan);
    const served = requests.filter(({ outcome }) => outcome === 'done');
    const refused = requests.filter(({ reason = '' }) => /^status (429|503)/u.test(reason));
    const tookMs = (all: typeof requests) => all.map(({ sentMs, endMs }) => endMs - sentMs);
    const { daemon: use } = useOfDaemon(pid);
    add('clients', `${clients} at once`, {
      served: served.length,
      refused: refused.length,
      failed: clients - served.length - refused.length,
      servedTtftP50Ms: median(served.map(({ sentMs, textMs }) => (textMs[0] ?? NaN) - sentMs)),
      refusedP50Ms: median(tookMs(refused)),
      refusedP95Ms: quantile(tookMs(refused), 0.95),
      wallMs,
      daemonCpuMsPerRequest: ((use.cpuSeconds - before) / clients) * 1_000,
      daemonMiB: use.residentBytes / MIB,
    });
  }
}

function ttfts({ requests }: Recording): number[] {
  return requests.map(({ sentMs, textMs }) => (textMs[0] ?? NaN) - sentMs);
}
