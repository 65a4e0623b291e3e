import { setTimeout } from 'node:timers/promises';
import { Lifetime } from '../src/util/lifetime.js';
import { measure, startContenders, type Contender } from './contenders.js';
import { figuresOf } from './figures.js';
import { loadsFor, warmUpPlan, type Load } from './loads.js';
import type { Options } from './options.js';
import type { Plan } from './plan.js';
import { medianInterval, pairedRatios, spread, type Spread } from './statistics.js';
import type { ModelOrder } from './target.js';
import { DarkbloomError } from '../src/errors.js';

/** One figure of one contender under one load, a value for each repeat. */
export interface Series {
  load: string;
  contender: string;
  figure: string;
  values: number[];
}

export interface SeriesSummary extends Series {
  summary: Spread;
}

export interface Ratio extends Spread {
  load: string;
  figure: string;
  contender: string;
  against: string;
}

const PLAIN = 'llama-server';

export interface Comparison {
  series: Series[];
  /** What makes the figures doubtful: requests that failed, contenders that counted other tokens. */
  problems: string[];
}

type Progress = (line: string) => void;

/** So many repeats are measured on the same processes; then all are started anew. Where its memory lies is a process's
 *  luck for life, and makes the same program a tenth faster or slower. */
const REPEATS_OF_A_START = 5;

/** Before each run. llama-server's threads wait for work by spinning, for some 160 ms after an answer: whoever came next
 *  would have one core less until then. */
const SETTLE_MS = 1_000;

const WARM_UP_ROUNDS = 20;
const WARM_UP_MS = 60_000;

/** Every load on every contender, `repeats` times. Each repeat has its own prompts, the same for all; the order of the
 *  contenders is reversed in every second one, so that none always has the cooler or the busier machine. A repeat in
 *  which someone failed counts for nobody: values stay pairs. */
export async function compare(
  options: Options,
  model: ModelOrder,
  life: Lifetime,
  progress: Progress,
): Promise<Comparison> {
  const comparison = new Running(options, progress);
  for (let first = 0; first < options.repeats; first += REPEATS_OF_A_START) {
    const start = new Lifetime();
    life.own(() => start.close()); // also when it ends in the middle
    const contenders = await startContenders({ ...options, model }, start, progress);
    await warmUp(contenders, options.rows, progress);
    await comparison.measure(contenders, first, Math.min(first + REPEATS_OF_A_START, options.repeats));
    await start.close();
  }
  return comparison.result;
}

class Running {
  readonly #options: Options;
  readonly #loads: readonly Load[];
  readonly #progress: Progress;
  readonly #book = new Book();
  readonly #problems: string[] = [];

  constructor(options: Options, progress: Progress) {
    this.#options = options;
    this.#loads = chosenLoads(options);
    this.#progress = progress;
  }

  get result(): Comparison {
    return { series: this.#book.series, problems: this.#problems };
  }

  /** The repeats from `first` up to `end`, without it. */
  async measure(contenders: readonly Contender[], first: number, end: number): Promise<void> {
    for (const load of this.#loads) {
      for (let repeat = first; repeat < end; repeat++) await this.#repeat(contenders, load, repeat);
    }
  }

  async #repeat(contenders: readonly Contender[], load: Load, repeat: number): Promise<void> {
    const { repeats, seed } = this.#options;
    const title = `${load.name} ${repeat + 1}/${repeats}`;
    const plan = load.plan(seed * 1_000 + repeat);
    const taking = contenders.filter(({ onlyIn = load.name }) => onlyIn === load.name);
    try {
      const runs = await runAll(inTurn(taking, repeat), load.name, plan, (line) => this.#progress(`${title} ${line}`));
      for (const { contender, figures } of runs) this.#book.add(load.name, contender, figures);
      this.#problems.push(...differentCounts(runs).map((difference) => `${title}: ${difference}`));
    } catch (error) {
      const problem = `${title}: left out: ${error instanceof Error ? error.message : String(error)}`;
      this.#progress(problem);
      this.#problems.push(problem);
    }
  }
}

interface Run {
  contender: string;
  figures: Readonly<Record<string, number>>;
  /** Prompt and output tokens of all requests that were asked to their end. */
  tokens: number;
}

async function runAll(contenders: readonly Contender[], load: string, plan: Plan, progress: Progress): Promise<Run[]> {
  const runs: Run[] = [];
  for (const contender of contenders) {
    await setTimeout(SETTLE_MS);
    const { recording, daemonCpuShare } = await measure(contender, plan);
    const figures = {
      ...withName(contender.name, () => figuresOf(load, recording)),
      generatorCpuSeconds: recording.generatorCpuSeconds,
      ...(daemonCpuShare === undefined ? {} : { daemonCpuShare }),
    };
    progress(`${contender.name}: ${inShort(figures)}`);
    runs.push({ contender: contender.name, figures, tokens: tokensOf(recording.requests) });
  }
  return runs;
}

function withName<T>(name: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw new Error(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

function chosenLoads({ loads: names, streams, rows }: Options): Load[] {
  const all = loadsFor(streams);
  const isNamed = ({ name }: Load) =>
    names.length === 0 || names.some((wanted) => name === wanted || name.startsWith(`${wanted}-`));
  const unknown = names.find((wanted) => !all.some(({ name }) => name === wanted || name.startsWith(`${wanted}-`)));
  if (unknown !== undefined)
    throw new DarkbloomError(
      'usage',
      `There is no load '${unknown}'. There are: ${all.map(({ name }) => name).join(', ')}.`,
    );
  const chosen = all.filter(isNamed);
  const tooWide = chosen.find((load) => load.rows > rows);
  if (tooWide !== undefined)
    throw new DarkbloomError('usage', `${tooWide.name} needs ${tooWide.rows} rows, and --rows is ${rows}.`);
  return chosen;
}

/** Loads the model where that is done late, touches its memory everywhere, and lets a program that stays up for days be
 *  measured as it is then, not while its virtual machine still compiles it: for some 5,000 steps, or a minute. */
async function warmUp(contenders: readonly Contender[], rows: number, progress: Progress): Promise<void> {
  for (const contender of contenders) {
    progress(`warming up ${contender.name}`);
    const end = performance.now() + WARM_UP_MS;
    for (let round = 0; round < WARM_UP_ROUNDS && performance.now() < end; round++) {
      const recording = await contender.generator.drive(warmUpPlan(rows, round));
      withName(contender.name, () => figuresOf('warm-up', recording));
    }
  }
}

/** Forwards, and in every second repeat backwards. */
export function inTurn<T>(contenders: readonly T[], repeat: number): T[] {
  return repeat % 2 === 0 ? [...contenders] : [...contenders].reverse();
}

function tokensOf(requests: readonly { outcome: string; promptTokens: number; completionTokens: number }[]): number {
  const done = requests.filter(({ outcome }) => outcome === 'done');
  return done.reduce((sum, { promptTokens, completionTokens }) => sum + promptTokens + completionTokens, 0);
}

/** Who counted other tokens than the first one did, in words: it did other work. */
export function differentCounts(runs: readonly Pick<Run, 'contender' | 'tokens'>[]): string[] {
  const [first, ...others] = runs;
  return others
    .filter(({ tokens }) => tokens !== first?.tokens)
    .map(({ contender, tokens }) => `${contender} counted ${tokens} tokens, ${first?.contender} ${first?.tokens}`);
}

class Book {
  readonly #series = new Map<string, Series>();

  get series(): Series[] {
    return [...this.#series.values()];
  }

  add(load: string, contender: string, figures: Readonly<Record<string, number>>): void {
    for (const [figure, value] of Object.entries(figures)) {
      const key = `${load}/${contender}/${figure}`;
      const series = this.#series.get(key) ?? { load, contender, figure, values: [] };
      this.#series.set(key, series);
      series.values.push(value);
    }
  }
}

function inShort(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${rounded(value)}`)
    .join(', ');
}

/** Three figures: more would claim more than was measured. */
export function rounded(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : '-';
}

export function valuesOf(
  series: readonly Series[],
  load: string,
  contender: string,
  figure: string,
): number[] | undefined {
  return series.find((each) => each.load === load && each.contender === contender && each.figure === figure)?.values;
}

export function summaries(series: readonly Series[]): SeriesSummary[] {
  return series.map((each) => ({ ...each, summary: spread(each.values) }));
}

/** Every figure against llama.cpp's server; without one, against the first contender. */
export function ratios(series: readonly Series[]): Ratio[] {
  const against = series.some(({ contender }) => contender === PLAIN) ? PLAIN : (series[0]?.contender ?? '');
  return series.flatMap(({ load, contender, figure, values }) => {
    const theirs = valuesOf(series, load, against, figure);
    if (contender === against || theirs === undefined || figure === 'generatorCpuSeconds') return [];
    return [{ load, figure, contender, against, ...medianInterval(pairedRatios(values, theirs)) }];
  });
}
