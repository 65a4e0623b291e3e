import { Command } from 'commander';
import { environment, findHome, loadSettings, type Home } from '../../config.js';
import { poolOptionsOf } from '../../engine/pool-settings.js';
import { ModelPool } from '../../engine/pool.js';
import { DarkbloomError } from '../../errors.js';
import { answer } from '../../inference/answer.js';
import { isContent } from '../../inference/types.js';
import { silentLog } from '../../log.js';
import { systemCommands } from '../../machine/commands.js';
import { readMemory } from '../../machine/memory.js';
import { readCatalog } from '../../models/catalog.js';
import { installedModels } from '../../models/store.js';
import { answeringDaemon, type DiscoveryRecord } from '../../service/discovery.js';
import { systemClock } from '../../util/clock.js';
import { askStatus } from '../control-client.js';
import { measureModel, type Answered, type Ask, type ModelFigures } from '../model-bench.js';
import { progressLine } from '../progress-line.js';
import { streamChat } from '../stream-chat.js';
import { print, printFact, style } from '../style.js';

const SCHEMA_VERSION = 1;
const REQUEST_TIMEOUT_MS = 120_000;

export function benchCommand(): Command {
  return new Command('bench')
    .description('measure one of your models, in about a minute')
    .argument('[model]', 'its name; may be left out when you have one')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
When the daemon runs, the measurement goes through its port: the model may be loaded there already, and what else it
serves meanwhile makes the figures lower. Otherwise an engine is started for it, with the settings of this home, and
ended again.

Examples:
  $ darkbloom-provider bench
  $ darkbloom-provider bench qwen3-8b --json`,
    )
    .action(bench);
}

interface Result extends ModelFigures {
  model: string;
  /** Who answered. */
  through: 'daemon' | 'engine';
  slots: number;
  context_tokens: number;
  /** From starting the runner to a model in memory; `null` through the daemon, which has it loaded or loads it first. */
  load_ms: number | null;
  /** Requests of others that ran at the beginning. */
  other_requests: number;
}

async function bench(name: string | undefined, { json }: { json?: true }): Promise<void> {
  const home = findHome(environment);
  const record = await answeringDaemon(home.discovery);
  const line = progressLine('bench');
  let result: Result;
  try {
    result = await (record === undefined
      ? benchEngine(home, name, line.show)
      : benchDaemon(home, record, name, line.show));
  } finally {
    line.end();
  }
  if (json === true) print(JSON.stringify({ schema_version: SCHEMA_VERSION, ...result }));
  else printResult(result);
}

type Show = (share: number, text: string) => void;

/** @throws DarkbloomError `insufficient_memory`, `model_not_found`, `model_corrupt`. */
async function benchEngine(home: Home, name: string | undefined, show: Show): Promise<Result> {
  const settings = loadSettings(home, environment, {});
  const models = await installedModels(readCatalog(), settings, home.folder);
  const alias = chosenName(
    name,
    models.map((model) => model.alias),
  );
  const model = models.find((each) => each.alias === alias);
  if (model === undefined) throw unknownModel(alias, models.map((each) => each.alias)); // prettier-ignore
  const { slots, context_tokens: configuredTokens } = settings.engine;
  const memory = await readMemory(systemCommands, process.platform);
  const pool = new ModelPool([model], {
    ...poolOptionsOf(settings, memory, environment),
    keepLoaded: [],
    clock: systemClock,
    log: silentLog(),
  });
  try {
    show(0, 'loading the model');
    await pool.load(alias);
    const [snapshot] = pool.snapshot();
    const contextTokens = snapshot?.contextTokens ?? configuredTokens;
    const figures = await measureModel(askEngine(pool, alias), { slots, contextTokens }, show);
    return {
      model: alias,
      through: 'engine',
      slots,
      context_tokens: contextTokens,
      load_ms: snapshot?.loadMs ?? null,
      other_requests: 0,
      ...figures,
    };
  } finally {
    await pool.close();
  }
}

async function benchDaemon(home: Home, record: DiscoveryRecord, name: string | undefined, show: Show): Promise<Result> {
  const status = await askStatus(home);
  if (status.state !== 'serving') {
    throw new DarkbloomError('paused', `The daemon is ${status.state} and answers nothing now. \`darkbloom-provider why\` says more.`); // prettier-ignore
  }
  const aliases = status.models.map((model) => model.alias);
  const alias = chosenName(name, aliases);
  const model = status.models.find((each) => each.alias === alias);
  if (model === undefined) throw unknownModel(alias, aliases);
  const { slots, context_tokens: contextTokens } = model;
  const figures = await measureModel(askDaemon(record, alias), { slots, contextTokens }, show);
  return {
    model: alias,
    through: 'daemon',
    slots,
    context_tokens: contextTokens,
    load_ms: null,
    other_requests: status.requests.running,
    ...figures,
  };
}

/** The one that is asked for; else the only one beside what is part of the package. */
function chosenName(name: string | undefined, aliases: readonly string[]): string {
  if (name !== undefined) return name;
  const packaged = readCatalog()
    .filter(({ builds }) => builds.some(({ source }) => source === 'package'))
    .map(({ alias }) => alias);
  const own = aliases.filter((alias) => !packaged.includes(alias));
  const [only, another] = own.length === 0 ? aliases : own;
  if (only !== undefined && another === undefined) return only;
  throw new DarkbloomError(
    'usage',
    `Say which model: darkbloom-provider bench NAME. This machine has: ${aliases.join(', ')}.`,
  );
}

function unknownModel(name: string, aliases: readonly string[]): DarkbloomError {
  return new DarkbloomError(
    'model_not_found',
    `This machine has no model named '${name}'. It has: ${aliases.join(', ')}.`,
  );
}

function askEngine(pool: ModelPool, model: string): Ask {
  return async (prompt, maxTokens) => {
    const watch = new StopWatch();
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const body = { model, messages: [{ role: 'user', content: prompt }], max_tokens: maxTokens };
    for await (const event of answer(body, pool, signal)) {
      if (isContent(event)) watch.content();
      if (event.type === 'done') return watch.end(event.usage);
    }
    throw tooSlow();
  };
}

function askDaemon({ base_url: baseUrl, api_key: apiKey }: DiscoveryRecord, model: string): Ask {
  return async (prompt, maxTokens) => {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const { ttftMs, writingMs, usage } = await streamChat({ baseUrl, apiKey, model, prompt, maxTokens, signal });
    return { ttftMs, writingMs, ...usage };
  };
}

function tooSlow(): DarkbloomError {
  return new DarkbloomError('timeout', `No answer within ${REQUEST_TIMEOUT_MS / 1_000} s: a smaller model may suit this machine better.`); // prettier-ignore
}

class StopWatch {
  readonly #sent = performance.now();
  #first: number | undefined;

  content(): void {
    this.#first ??= performance.now();
  }

  end({ promptTokens, completionTokens }: { promptTokens: number; completionTokens: number }): Answered {
    const end = performance.now();
    const first = this.#first ?? end; // an answer without any content
    return { ttftMs: first - this.#sent, writingMs: end - first, promptTokens, completionTokens };
  }
}

function printResult(result: Result): void {
  const { model, through, slots, context_tokens, load_ms, other_requests, ttft_ms, prefill_tps, prompt_tokens, decode } = result; // prettier-ignore
  const where = through === 'daemon' ? 'through the running daemon' : 'in an engine started for this';
  print(`${style.bold(model)} ${where}, ${slots} slots of ${context_tokens} tokens`);
  if (load_ms !== null) printFact('load', `${(load_ms / 1_000).toFixed(1)} s`);
  printFact('first', `${ttft_ms} ms to the first token of a short question`);
  printFact('reading', `${prefill_tps} tokens/s (a prompt of ${prompt_tokens} tokens)`);
  for (const { streams, tokens_per_second: rate } of decode) {
    const name = streams === 1 ? '1 stream' : `${streams} streams`;
    printFact(name, rate === null ? 'its answers were too short to tell' : rateInWords(rate, streams));
  }
  if (other_requests > 0)
    print(`${style.yellow('!')} ${other_requests} other requests ran meanwhile: alone it is faster.`);
}

function rateInWords(rate: number, streams: number): string {
  return streams === 1 ? `${rate} tokens/s` : `${rate} tokens/s together, ${(rate / streams).toFixed(1)} each`;
}
