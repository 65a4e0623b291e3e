import type { Lifetime } from '../src/util/lifetime.js';
import { measure, startContenders, type Contender } from './contenders.js';
import { figuresOf } from './figures.js';
import { loadsFor, type Load } from './loads.js';
import type { Options } from './options.js';
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

/** Every load on every contender, `repeats` times. Each repeat has its own prompts, the same for all; the order of the
 *  contenders is reversed in every second one, so that none always has the cooler or the busier machine. */
export async function compare(
  options: Options,
  model: ModelOrder,
  life: Lifetime,
  progress: (line: string) => void,
): Promise<Series[]> {
  const loads = chosenLoads(options);
  const contenders = await startContenders({ ...options, model }, life, progress);
  const book = new Book();
  await warmUp(contenders, progress);
  for (const load of loads) {
    for (let repeat = 0; repeat < options.repeats; repeat++) {
      const plan = load.plan(options.seed * 1_000 + repeat);
      const counts = new Map<string, number>();
      for (const contender of inTurn(contenders, repeat)) {
        const { recording, daemonCpuShare } = await measure(contender, plan);
        const figures = {
          ...figuresOf(load.name, recording),
          generatorCpuSeconds: recording.generatorCpuSeconds,
          ...(daemonCpuShare === undefined ? {} : { daemonCpuShare }),
        };
        for (const [figure, value] of Object.entries(figures)) book.add(load.name, contender.name, figure, value);
        counts.set(contender.name, tokensOf(recording.requests));
        progress(`${load.name} ${repeat + 1}/${options.repeats} ${contender.name}: ${inShort(figures)}`);
      }
      const [difference] = differentCounts(counts);
      if (difference !== undefined) progress(`${load.name} ${repeat + 1}: NOT THE SAME WORK: ${difference}`);
    }
  }
  return book.series;
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

/** The first request loads the model where that is done late, and touches its memory everywhere. */
async function warmUp(contenders: readonly Contender[], progress: (line: string) => void): Promise<void> {
  const [load] = loadsFor([]);
  for (const contender of contenders) {
    progress(`warming up ${contender.name}`);
    if (load !== undefined) figuresOf(load.name, await contender.generator.drive(load.plan(0)));
  }
}

/** Forwards, and in every second repeat backwards. */
export function inTurn<T>(contenders: readonly T[], repeat: number): T[] {
  return repeat % 2 === 0 ? [...contenders] : [...contenders].reverse();
}

/** Prompt and output tokens of all requests that were asked to their end. */
function tokensOf(requests: readonly { outcome: string; promptTokens: number; completionTokens: number }[]): number {
  const done = requests.filter(({ outcome }) => outcome === 'done');
  return done.reduce((sum, { promptTokens, completionTokens }) => sum + promptTokens + completionTokens, 0);
}

/** Who counted other tokens than the first one did, in words. */
export function differentCounts(counts: ReadonlyMap<string, number>): string[] {
  const [[first, wanted] = ['', 0], ...others] = counts;
  return others
    .filter(([, count]) => count !== wanted)
    .map(([name, count]) => `${name} counted ${count} tokens, ${first} ${wanted}`);
}

class Book {
  readonly #series = new Map<string, Series>();

  get series(): Series[] {
    return [...this.#series.values()];
  }

  add(load: string, contender: string, figure: string, value: number): void {
    const key = `${load}/${contender}/${figure}`;
    const series = this.#series.get(key) ?? { load, contender, figure, values: [] };
    this.#series.set(key, series);
    series.values.push(value);
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
