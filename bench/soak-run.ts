import { setTimeout as sleep } from 'node:timers/promises';
import { askStatus } from '../src/cli/control-client.js';
import { DaemonProcess } from './daemon-process.js';
import { HttpTarget, Refused } from './http-target.js';
import { useOfDaemon } from './processes.js';
import { between, exponential, seeded, words, type Random } from './seeded.js';
import { slope } from './statistics.js';

/** Many clients on few rows, for a while: nothing may stay behind. */

const CLIENTS = 64;
const ROWS = 8;
const CONTEXT_TOKENS = 1_024;
const ABORT_SHARE = 0.2;
/** Of the answers, to be compared with what the same request gives alone. */
const SAMPLE_SHARE = 0.2;
const MAX_SAMPLES = 60;
const SAMPLE_SEED = 1;
const PAUSE_MS = 200;
const PROMPT_WORDS = { least: 4, most: 220 };
const OUTPUT_TOKENS = { least: 1, most: 96 };
/** A request that got no end and no refusal for so long is stuck. */
const STUCK_MS = 120_000;
/** Where a refusal does not say when to come again. */
const DEFAULT_RETRY_S = 2;
const LOOK_EVERY_MS = 1_000;
/** Rows are free a moment after the last answer: its last message is on its way. */
const SETTLE_TIMEOUT_MS = 30_000;

export interface SoakOrder {
  seconds: number;
  seed: number;
  /** With quantized weights. */
  model: string;
  threads: number;
  progress: (line: string) => void;
}

export interface MemorySample {
  seconds: number;
  daemonBytes: number;
  runnerBytes: number;
}

export interface SoakReport {
  seconds: number;
  done: number;
  aborted: number;
  /** Refusals with 429 or 503 that were obeyed and tried again. */
  refused: number;
  /** Requests that failed in any other way. */
  failures: string[];
  /** Rows and waiting places that were not given back at the end. */
  leftBusy: number;
  compared: number;
  /** Of `compared`: those whose answer was another one alone. */
  different: number;
  memory: MemorySample[];
}

interface Request {
  prompt: string;
  maxTokens: number;
  /** Leaves after so many pieces of text; 0: before the first. */
  leaveAfter: number | undefined;
  /** With a seed and quantized weights the same request gets the same answer to the letter (docs/parameters.md). */
  seed: number | undefined;
}

interface Sample extends Request {
  answer: string;
}

export async function soak(order: SoakOrder): Promise<SoakReport> {
  const models = { soak: order.model };
  const { threads } = order;
  const daemon = await DaemonProcess.start({
    mode: 'local',
    models,
    rows: ROWS,
    contextTokens: CONTEXT_TOKENS,
    threads,
  });
  try {
    return await soakOn(daemon, order);
  } finally {
    await daemon.stop();
  }
}

async function soakOn(daemon: DaemonProcess, { seconds, seed, progress }: SoakOrder): Promise<SoakReport> {
  const target = new HttpTarget({ ...daemon, model: 'soak' });
  const report: SoakReport = {
    seconds,
    done: 0,
    aborted: 0,
    refused: 0,
    failures: [],
    leftBusy: 0,
    compared: 0,
    different: 0,
    memory: [],
  };
  await once(target, { prompt: 'warm up', maxTokens: 1, leaveAfter: undefined, seed: undefined }); // loads the model
  const samples: Sample[] = [];
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1_000;
  const client = async (index: number) => {
    const random = seeded(seed * 10_000 + index);
    while (elapsed() < seconds) {
      await sleep(exponential(random, PAUSE_MS));
      await oneRequest(target, random, report, samples, () => elapsed() >= seconds);
    }
  };
  const watching = watch(daemon, report, elapsed, seconds, progress);
  await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(index)));
  await watching;
  report.leftBusy = await busyAtTheEnd(daemon);
  await compareAlone(target, samples, report, progress);
  return report;
}

/** Comes again as often as it is refused, until the time is over. */
async function oneRequest(
  target: HttpTarget,
  random: Random,
  report: SoakReport,
  samples: Sample[],
  isOver: () => boolean,
): Promise<void> {
  const maxTokens = between(random, OUTPUT_TOKENS.least, OUTPUT_TOKENS.most);
  const request: Request = {
    prompt: words(random, between(random, PROMPT_WORDS.least, PROMPT_WORDS.most)),
    maxTokens,
    leaveAfter: random() < ABORT_SHARE ? between(random, 0, maxTokens - 1) : undefined,
    seed: random() < SAMPLE_SHARE ? SAMPLE_SEED : undefined,
  };
  for (;;) {
    try {
      const answer = await once(target, request);
      if (answer === undefined) report.aborted++;
      else {
        report.done++;
        if (request.seed !== undefined && samples.length < MAX_SAMPLES) samples.push({ ...request, answer });
      }
      return;
    } catch (error) {
      if (!(error instanceof Refused) || (error.status !== 429 && error.status !== 503)) {
        report.failures.push(error instanceof Error ? error.message : String(error));
        return;
      }
      report.refused++;
      if (isOver()) return;
      await sleep((error.retryAfterS ?? DEFAULT_RETRY_S) * 1_000);
    }
  }
}

/** The answer, greedy; `undefined` when the client left.
 *  @throws Refused; Error for an answer that broke off or never came. */
async function once(target: HttpTarget, { prompt, maxTokens, leaveAfter, seed }: Request): Promise<string | undefined> {
  const leaving = new AbortController();
  const stuck = AbortSignal.timeout(STUCK_MS);
  let answer = '';
  let pieces = 0;
  let ended = false;
  const mayLeave = () => {
    if (leaveAfter !== undefined && pieces >= leaveAfter) leaving.abort();
  };
  try {
    const greedy = { prompt, maxTokens, temperature: 0, ...(seed === undefined ? {} : { seed }) };
    const data = target.stream(greedy, AbortSignal.any([leaving.signal, stuck]));
    const beginning = data.next();
    if (leaveAfter === 0) setImmediate(mayLeave); // once it is on its way
    for (let next = await beginning; next.done !== true; next = await data.next()) {
      const { choices = [] } = JSON.parse(next.value) as Chunk;
      const text = choices[0]?.delta?.content ?? '';
      ended ||= typeof choices[0]?.finish_reason === 'string';
      answer += text;
      if (text !== '') pieces++;
      mayLeave();
    }
  } catch (error) {
    if (leaving.signal.aborted) return undefined;
    if (stuck.aborted) throw new Error(`stuck: no end within ${STUCK_MS / 1_000} s`, { cause: error });
    throw error;
  }
  if (leaving.signal.aborted) return undefined;
  if (!ended) throw new Error('an answer broke off');
  return answer;
}

interface Chunk {
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
}

async function watch(
  daemon: DaemonProcess,
  report: SoakReport,
  elapsed: () => number,
  seconds: number,
  progress: (line: string) => void,
): Promise<void> {
  const MIB = 1024 ** 2;
  const lineEvery = Math.max(5, seconds / 20);
  let nextLine = 0;
  while (elapsed() < seconds) {
    const { daemon: use, runners } = useOfDaemon(daemon.pid);
    report.memory.push({ seconds: elapsed(), daemonBytes: use.residentBytes, runnerBytes: runners.residentBytes });
    if (elapsed() >= nextLine) {
      nextLine += lineEvery;
      const { done, aborted, refused, failures } = report;
      const memory = `daemon ${Math.round(use.residentBytes / MIB)} MiB, runner ${Math.round(runners.residentBytes / MIB)} MiB`;
      progress(
        `${Math.round(elapsed())} s: ${done} answers, ${aborted} left, ${refused} refusals obeyed, ` +
          `${failures.length} failures; ${memory}`,
      );
    }
    await sleep(LOOK_EVERY_MS);
  }
}

/** Requests that the daemon believes to be running or waiting although every client has left. */
async function busyAtTheEnd(daemon: DaemonProcess): Promise<number> {
  const deadline = performance.now() + SETTLE_TIMEOUT_MS;
  for (;;) {
    const status = await askStatus(daemon.home);
    const busy = status.state === 'blocked' ? NaN : status.requests.running + status.requests.waiting;
    if (busy === 0 || performance.now() > deadline) return busy;
    await sleep(100);
  }
}

/** The same requests one after another, with all rows free. */
async function compareAlone(
  target: HttpTarget,
  samples: readonly Sample[],
  report: SoakReport,
  progress: (line: string) => void,
): Promise<void> {
  progress(`asking ${samples.length} of them again, alone`);
  for (const sample of samples) {
    const alone = await once(target, { ...sample, leaveAfter: undefined });
    report.compared++;
    if (alone !== sample.answer) report.different++;
  }
}

/** Memory may grow by so much over a run, beyond the warm-up: buffers and garbage come and go. */
const MAX_GROWTH_BYTES = { daemon: 48 * 1024 ** 2, runner: 32 * 1024 ** 2 };
/** Share of the run in which memory may grow. */
const WARM_UP_SHARE = 1 / 3;

/** Bytes that each process gains in an hour, and over the part of the run after the warm-up. */
export function memoryGrowth(memory: readonly MemorySample[]) {
  const last = memory.at(-1)?.seconds ?? 0;
  const settled = memory.filter(({ seconds }) => seconds >= last * WARM_UP_SHARE);
  const perSecond = (bytes: (sample: MemorySample) => number) =>
    settled.length < 2 ? 0 : slope(settled.map((sample) => ({ x: sample.seconds, y: bytes(sample) })));
  const grown = (perSecondBytes: number) => ({
    perHourBytes: perSecondBytes * 3_600,
    overRunBytes: perSecondBytes * last * (1 - WARM_UP_SHARE),
  });
  return {
    daemon: grown(perSecond(({ daemonBytes }) => daemonBytes)),
    runner: grown(perSecond(({ runnerBytes }) => runnerBytes)),
  };
}

/** What a soak found wrong, in words. */
export function soakFaults({ done, failures, leftBusy, compared, different }: SoakReport): string[] {
  const faults: string[] = [];
  if (done === 0) faults.push('no request was answered');
  if (failures.length > 0) faults.push(`${failures.length} requests failed, the first: ${failures[0] ?? ''}`);
  if (leftBusy !== 0) faults.push(`${leftBusy} requests still run or wait although every client has left`);
  if (compared === 0) faults.push('no answer was compared with one given alone');
  if (different > 0) faults.push(`${different} of ${compared} answers were other ones when asked alone`);
  return faults;
}

/** What is wrong with memory; only a run of minutes can tell. */
export function memoryFaults(memory: readonly MemorySample[]): string[] {
  const growth = memoryGrowth(memory);
  return (['daemon', 'runner'] as const).flatMap((who) => {
    const { overRunBytes } = growth[who];
    if (overRunBytes <= MAX_GROWTH_BYTES[who]) return [];
    return [`the ${who} grew by ${Math.round(overRunBytes / 1024 ** 2)} MiB after the warm-up`];
  });
}
