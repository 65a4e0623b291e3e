import { valuesOf, type Series } from './compare.js';
import { medianInterval, pairedDifferences, pairedRatios, type Spread } from './statistics.js';

/** What must be reached, and what is aimed at. */

export interface Floor {
  name: string;
  unit: 'ratio' | 'ms' | 'share' | 'rate';
  better: 'higher' | 'lower';
  floor: number;
  aim: number;
  /** One value for each repeat; `undefined` when this was not measured. */
  values: (series: readonly Series[]) => number[] | undefined;
}

const SERVER = 'llama-server';
const SERVER_UNIFIED = 'llama-server-kvu';

export const FLOORS: readonly Floor[] = [
  ...steady('runner', { 1: [0.95, 1], 2: [0.93, 1], 4: [0.97, 1.05], 8: [1, 1.05] }),
  ...steady('http', { 1: [0.92, 1], 2: [0.92, 1], 4: [0.95, 1], 8: [0.98, 1] }),
  ...[1, 2, 4, 8].map((streams): Floor => ({
    name: `whole path ÷ own HTTP, ${streams} streams`,
    unit: 'ratio',
    better: 'higher',
    floor: 0.95,
    aim: 0.98,
    values: ratio(`steady-${streams}`, 'tokensPerSecond', 'whole', 'http'),
  })),
  {
    name: 'ragged, 8 clients, HTTP ÷ server',
    unit: 'ratio',
    better: 'higher',
    floor: 1.15,
    aim: 1.3,
    values: ratio('ragged', 'tokensPerSecond', 'http', SERVER),
  },
  {
    name: 'ragged, 8 clients, HTTP ÷ the better server',
    unit: 'ratio',
    better: 'higher',
    floor: 1,
    aim: 1.15,
    values: raggedAgainstBetter,
  },
  {
    name: 'first token, 8 streams, HTTP ÷ server',
    unit: 'ratio',
    better: 'lower',
    floor: 0.95,
    aim: 0.75,
    values: ratio('steady-8', 'ttftP50Ms', 'http', SERVER),
  },
  {
    name: 'first token, known prefix of 1,500, HTTP ÷ server',
    unit: 'ratio',
    better: 'lower',
    floor: 1,
    aim: 0.85,
    values: ratio('prefix', 'warmTtftMs', 'http', SERVER),
  },
  {
    name: 'longest gap of 4 streams beside a prompt of 1,900, HTTP ÷ server',
    unit: 'ratio',
    better: 'lower',
    floor: 1,
    aim: 0.7,
    values: ratio('long-prompt', 'longestGapMs', 'http', SERVER),
  },
  {
    name: 'first token, whole path − bare runner',
    unit: 'ms',
    better: 'lower',
    floor: 8,
    aim: 4,
    values: (series) => paired(series, 'latency', 'ttftP50Ms', 'whole', 'runner', pairedDifferences),
  },
  {
    name: "daemon's share of CPU, 8 streams, whole path",
    unit: 'share',
    better: 'lower',
    floor: 0.1,
    aim: 0.05,
    values: (series) => valuesOf(series, 'steady-8', 'whole', 'daemonCpuShare'),
  },
];

function steady(level: string, bounds: Readonly<Record<number, readonly [number, number]>>): Floor[] {
  return Object.entries(bounds).map(([streams, [floor, aim]]) => ({
    name: `steady, ${streams} streams, ${level === 'http' ? 'HTTP' : level} ÷ server`,
    unit: 'ratio',
    better: 'higher',
    floor,
    aim,
    values: ratio(`steady-${streams}`, 'tokensPerSecond', level, SERVER),
  }));
}

function ratio(load: string, figure: string, ours: string, theirs: string): Floor['values'] {
  return (series) => paired(series, load, figure, ours, theirs, pairedRatios);
}

function paired(
  series: readonly Series[],
  load: string,
  figure: string,
  ours: string,
  theirs: string,
  combine: (ours: readonly number[], theirs: readonly number[]) => number[],
): number[] | undefined {
  const [our, their] = [ours, theirs].map((contender) => valuesOf(series, load, contender, figure));
  return our === undefined || their === undefined ? undefined : combine(our, their);
}

/** In each repeat against the server that was faster in it. */
function raggedAgainstBetter(series: readonly Series[]): number[] | undefined {
  const [ours, plain, unified] = ['http', SERVER, SERVER_UNIFIED].map((contender) =>
    valuesOf(series, 'ragged', contender, 'tokensPerSecond'),
  );
  if (ours === undefined || plain === undefined || unified === undefined) return undefined;
  return pairedRatios(
    ours,
    plain.map((value, index) => Math.max(value, unified[index] ?? value)),
  );
}

/** `within scatter`: the median misses the floor, and the interval reaches it. Of few repeats that says little. */
export type Verdict = 'aim met' | 'met' | 'within scatter' | 'not met' | 'not measured';

export interface Judged {
  name: string;
  unit: Floor['unit'];
  better: Floor['better'];
  floor: number;
  aim: number;
  measured: Spread | undefined;
  verdict: Verdict;
}

/** By the median. A floor is missed where the whole 90 % interval of the median misses it. */
export function judge(series: readonly Series[], floors: readonly Floor[] = FLOORS): Judged[] {
  return floors.map(({ values, ...floor }) => {
    const measured = values(series);
    const summary = measured === undefined ? undefined : medianInterval(measured);
    return { ...floor, measured: summary, verdict: verdictOf(floor, summary) };
  });
}

function verdictOf(
  { better, floor, aim }: Pick<Floor, 'better' | 'floor' | 'aim'>,
  measured: Spread | undefined,
): Verdict {
  if (measured === undefined || Number.isNaN(measured.median)) return 'not measured';
  const { median, low, high } = measured;
  const reaches = (value: number, bound: number) => (better === 'higher' ? value >= bound : value <= bound);
  if (reaches(median, aim)) return 'aim met';
  if (reaches(median, floor)) return 'met';
  return reaches(better === 'higher' ? high : low, floor) ? 'within scatter' : 'not met';
}
