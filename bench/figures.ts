import type { Recording, RequestRecord } from './plan.js';
import { median, quantile } from './statistics.js';

/** What one run of one load came to. Tokens per second, or milliseconds where the name ends with `Ms`. */
export type Figures = Readonly<Record<string, number>>;

/** @throws Error when a request failed: figures of what did not happen mislead. */
export function figuresOf(loadName: string, recording: Recording): Figures {
  const failed = recording.requests.find(({ outcome }) => outcome === 'failed');
  if (failed !== undefined) throw new Error(`a request of ${loadName} failed: ${failed.reason ?? 'no reason given'}`);
  const { requests } = recording;
  const role = (name: string) => requests.filter((request) => request.role === name);
  switch (loadName) {
    case 'latency':
      return { ttftP50Ms: median(role('short').map(ttftMs)), ttftP95Ms: quantile(role('short').map(ttftMs), 0.95) };
    case 'prefix':
      return { coldTtftMs: median(role('cold').map(ttftMs)), warmTtftMs: median(role('warm').map(ttftMs)) };
    case 'long-prompt':
      return longPromptFigures(role('beside'), role('long'));
    case 'abort':
      return abortFigures(role);
    default:
      return throughput(recording);
  }
}

function throughput({ requests, wallMs }: Recording): Figures {
  const tokens = requests.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
  const gaps = requests.flatMap(gapsMs);
  const ttfts = requests.map(ttftMs);
  return {
    tokensPerSecond: (tokens / wallMs) * 1_000,
    ttftP50Ms: median(ttfts),
    ttftP95Ms: quantile(ttfts, 0.95),
    stepP50Ms: median(requests.flatMap(stepsMs)),
    gapP95Ms: quantile(gaps, 0.95),
  };
}

function longPromptFigures(beside: readonly RequestRecord[], long: readonly RequestRecord[]): Figures {
  const [{ sentMs, textMs } = { sentMs: NaN, textMs: [] }] = long;
  const firstMs = textMs[0] ?? NaN;
  const meanwhile = beside.flatMap((each) => gapsBetween(each.textMs, sentMs, firstMs));
  return { longestGapMs: Math.max(...meanwhile), longTtftMs: firstMs - sentMs };
}

/** `…Steps`: by how much longer the next one waited than on a row that was free, in steps of the other streams. */
function abortFigures(role: (name: string) => RequestRecord[]): Figures {
  const ttft = (name: string) => median(role(name).map(ttftMs));
  const [free, afterReading, afterWriting] = ['free row', 'after reading', 'after writing'].map(ttft);
  const stepP50Ms = median(role('other').flatMap(stepsMs));
  const steps = (ms = NaN) => Math.max(0, ms - (free ?? NaN)) / stepP50Ms;
  return {
    freeRowTtftMs: free ?? NaN,
    afterReadingTtftMs: afterReading ?? NaN,
    afterWritingTtftMs: afterWriting ?? NaN,
    stepP50Ms,
    afterReadingSteps: steps(afterReading),
    afterWritingSteps: steps(afterWriting),
  };
}

function ttftMs({ sentMs, textMs }: RequestRecord): number {
  return (textMs[0] ?? NaN) - sentMs;
}

/** How long a token took, over every so many in a row: those of fast steps come several at once. */
const STEPS = 16;

export function stepsMs({ textMs }: RequestRecord): number[] {
  return textMs.slice(STEPS).map((time, index) => (time - (textMs[index] ?? time)) / STEPS);
}

function gapsMs({ textMs }: RequestRecord): number[] {
  return textMs.slice(1).map((time, index) => time - (textMs[index] ?? time));
}

/** Gaps between two pieces of text that reach into this time. */
export function gapsBetween(textMs: readonly number[], fromMs: number, toMs: number): number[] {
  return textMs.slice(1).flatMap((time, index) => {
    const before = textMs[index] ?? time;
    return time > fromMs && before < toMs ? [time - before] : [];
  });
}
