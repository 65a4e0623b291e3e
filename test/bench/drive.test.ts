import { expect, test } from 'vitest';
import { drive } from '../../bench/drive.js';
import { figuresOf, gapsBetween } from '../../bench/figures.js';
import type { PlannedRequest, Recording, RequestRecord } from '../../bench/plan.js';
import type { Target, TargetEvent, TargetRequest } from '../../bench/target.js';

/** Writes as many pieces as it is asked for, one each turn of the event loop, until its reader leaves. */
class CountingTarget implements Target {
  readonly asked: TargetRequest[] = [];

  async *ask(request: TargetRequest, signal: AbortSignal): AsyncGenerator<TargetEvent> {
    this.asked.push(request);
    if (request.prompt === 'break') throw new Error('broken');
    for (let written = 0; written < request.maxTokens; written++) {
      await new Promise(setImmediate);
      if (signal.aborted) return;
      yield { type: 'text' };
    }
    yield { type: 'end', promptTokens: 1, completionTokens: request.maxTokens };
  }

  async close(): Promise<void> {
    // nothing is open
  }
}

const request = (prompt: string, maxTokens: number, more: Partial<PlannedRequest> = {}): PlannedRequest => ({
  role: prompt,
  prompt,
  maxTokens,
  ...more,
});

test('phases follow one another, and the requests of a client too', async () => {
  const target = new CountingTarget();
  const plan = [[[request('a', 2), request('b', 1)]], [[request('c', 3)]]];
  const { requests } = await drive(plan, target);
  expect(target.asked.map(({ prompt }) => prompt)).toEqual(['a', 'b', 'c']);
  expect(requests.map(({ outcome, completionTokens, phase }) => [outcome, completionTokens, phase])).toEqual([
    ['done', 2, 0],
    ['done', 1, 0],
    ['done', 3, 1],
  ]);
  expect(requests.map(({ textMs }) => textMs.length)).toEqual([2, 1, 3]);
});

test('a request that waits for texts of others is sent when all of them have shown so many', async () => {
  const waiting = request('late', 1, { afterTexts: { roles: ['early'], count: 5 } });
  const { requests } = await drive([[[request('early', 20)], [request('early', 30)], [waiting]]], new CountingTarget());
  const late = requests.find(({ role }) => role === 'late');
  for (const early of requests.filter(({ role }) => role === 'early')) {
    expect(early.textMs[4]).toBeLessThanOrEqual(late?.sentMs ?? 0);
    expect(early.endMs).toBeGreaterThan(late?.sentMs ?? Infinity);
  }
});

test('a client that leaves after some texts goes on with its next request at once', async () => {
  const plan = [[[request('left', 1_000, { abort: { afterTexts: 3 } }), request('next', 1)]]];
  const { requests } = await drive(plan, new CountingTarget());
  const [left, next] = requests;
  expect(left).toMatchObject({ outcome: 'aborted', completionTokens: 0 });
  expect(left?.textMs).toHaveLength(3);
  expect(next).toMatchObject({ outcome: 'done' });
  expect(next?.sentMs).toBeGreaterThanOrEqual(left?.abortedMs ?? Infinity);
});

test('a request that stays only as long as another ends with it', async () => {
  const plan = [[[request('beside', 1_000_000, { abort: { afterRoles: ['main'] } })], [request('main', 4)]]];
  const { requests } = await drive(plan, new CountingTarget());
  expect(requests.find(({ role }) => role === 'beside')).toMatchObject({ outcome: 'aborted' });
});

test('what fails is recorded with its reason, and no figures are made of it', async () => {
  const recording = await drive([[[request('break', 1)]]], new CountingTarget());
  expect(recording.requests).toMatchObject([{ outcome: 'failed', reason: 'broken' }]);
  expect(() => figuresOf('steady-1', recording)).toThrow('a request of steady-1 failed: broken');
});

const record = (role: string, sentMs: number, textMs: number[], more: Partial<RequestRecord> = {}): RequestRecord => ({
  role,
  phase: 0,
  sentMs,
  textMs,
  endMs: textMs.at(-1) ?? sentMs,
  outcome: 'done',
  promptTokens: 10,
  completionTokens: textMs.length,
  ...more,
});
const recording = (...requests: RequestRecord[]): Recording => ({ requests, wallMs: 1_000, generatorCpuSeconds: 0 });

test('throughput counts the tokens of the answers over the whole time', () => {
  const figures = figuresOf('steady-2', recording(record('stream', 0, [100, 110, 130]), record('stream', 0, [200])));
  expect(figures).toMatchObject({ tokensPerSecond: 4, ttftP50Ms: 150, gapP95Ms: 19.5 });
});

test('what a step took is seen although the tokens of fast steps come several at once', () => {
  const inThrees = Array.from({ length: 60 }, (_, token) => 100 + Math.floor(token / 3) * 12);
  const { stepP50Ms } = figuresOf('steady-1', recording(record('stream', 0, inThrees)));
  expect(Math.abs((stepP50Ms ?? NaN) - 4)).toBeLessThan(0.6);
});

test('beside a long prompt, the longest gap between its sending and its first text counts', () => {
  const long = record('long', 500, [900]);
  const beside = record('beside', 0, [100, 450, 700, 880, 2_000], { outcome: 'aborted' });
  expect(figuresOf('long-prompt', recording(beside, long))).toEqual({ longestGapMs: 1_120, longTtftMs: 400 });
  expect(gapsBetween(beside.textMs, 500, 860)).toEqual([250, 180]);
});

test('what an abort costs the next one is told in milliseconds and in steps of the others', () => {
  const figures = figuresOf(
    'abort',
    recording(
      record(
        'other',
        0,
        Array.from({ length: 20 }, (_, token) => 10 * token),
      ),
      record('free row', 0, [40]),
      record('victim', 50, [], { outcome: 'aborted' }),
      record('after reading', 100, [200]),
      record('after writing', 100, [150]),
    ),
  );
  expect(figures).toMatchObject({ afterReadingTtftMs: 100, afterReadingSteps: 6, afterWritingSteps: 1 });
});
