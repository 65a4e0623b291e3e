import { setTimeout as sleep } from 'node:timers/promises';
import type { Plan, PlannedClient, PlannedRequest, Recording, RequestRecord } from './plan.js';
import type { Target } from './target.js';

/** A request that takes longer is stuck. */
const REQUEST_TIMEOUT_MS = 120_000;

/** Carries out a plan. What fails is recorded, never thrown. */
export async function drive(plan: Plan, target: Target): Promise<Recording> {
  const cpu = process.cpuUsage();
  const recorder = new Recorder(target);
  for (const [phase, clients] of plan.entries()) await recorder.run(phase, clients);
  const { user, system } = process.cpuUsage(cpu);
  const { requests } = recorder;
  const begin = Math.min(...requests.map(({ sentMs }) => sentMs));
  const end = Math.max(...requests.map(({ endMs }) => endMs));
  return { requests, wallMs: end - begin, generatorCpuSeconds: (user + system) / 1e6 };
}

class Recorder {
  readonly requests: RequestRecord[] = [];
  readonly #target: Target;
  readonly #began = performance.now();
  /** Called with each piece of text that anyone gets, and with each end. */
  readonly #watchers = new Set<() => void>();

  constructor(target: Target) {
    this.#target = target;
  }

  async run(phase: number, clients: readonly PlannedClient[]): Promise<void> {
    const expected = clients.flat();
    const left: Promise<void>[] = [];
    await Promise.all(clients.map((client) => this.#runClient(phase, client, expected, left)));
    await Promise.all(left);
  }

  async #runClient(
    phase: number,
    client: PlannedClient,
    expected: readonly PlannedRequest[],
    left: Promise<void>[],
  ): Promise<void> {
    for (const request of client) {
      if (request.waitMs !== undefined) await sleep(request.waitMs);
      if (request.afterTexts !== undefined) await this.#untilTexts(phase, request.afterTexts, expected);
      const { ended, aborted } = this.#send(phase, request, expected);
      left.push(ended);
      await Promise.race([ended, aborted]);
    }
  }

  #now(): number {
    return performance.now() - this.#began;
  }

  /** `aborted` resolves when the client leaves, `ended` when the answer is over. */
  #send(
    phase: number,
    request: PlannedRequest,
    expected: readonly PlannedRequest[],
  ): { ended: Promise<void>; aborted: Promise<void> } {
    const record: RequestRecord = {
      role: request.role,
      phase,
      sentMs: this.#now(),
      textMs: [],
      endMs: NaN,
      outcome: 'failed',
      promptTokens: 0,
      completionTokens: 0,
    };
    this.requests.push(record);
    const leaving = new AbortController();
    const aborted = new Promise<void>((resolve) => leaving.signal.addEventListener('abort', () => resolve()));
    const leave = () => {
      if (!isNaN(record.endMs)) return;
      record.abortedMs = this.#now();
      leaving.abort();
    };
    const { abort } = request;
    if (abort !== undefined && 'afterRoles' in abort)
      void this.#untilEnded(phase, abort.afterRoles, expected).then(leave);
    return { ended: this.#listen(request, record, leaving.signal, leave), aborted };
  }

  async #listen(request: PlannedRequest, record: RequestRecord, left: AbortSignal, leave: () => void): Promise<void> {
    const { abort } = request;
    const timer = abort !== undefined && 'afterMs' in abort ? setTimeout(leave, abort.afterMs) : undefined;
    const leaveAt = abort !== undefined && 'afterTexts' in abort ? abort.afterTexts : Infinity;
    const tooLong = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    try {
      for await (const event of this.#target.ask(request, AbortSignal.any([left, tooLong]))) {
        if (event.type === 'end') {
          record.promptTokens = event.promptTokens;
          record.completionTokens = event.completionTokens;
          record.outcome = 'done';
          continue;
        }
        record.textMs.push(this.#now());
        this.#tell();
        if (record.textMs.length === leaveAt) leave();
      }
      if (record.outcome !== 'done') record.reason = `no end within ${REQUEST_TIMEOUT_MS / 1_000} s`;
    } catch (error) {
      record.reason = error instanceof Error ? error.message : String(error);
    } finally {
      clearTimeout(timer);
      if (record.outcome !== 'done' && left.aborted) record.outcome = 'aborted';
      record.endMs = this.#now();
      this.#tell();
    }
  }

  #tell(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  /** Also resolves when such a request ended earlier: it will not show more. */
  #untilTexts(
    phase: number,
    { roles, count }: NonNullable<PlannedRequest['afterTexts']>,
    expected: readonly PlannedRequest[],
  ): Promise<void> {
    return this.#untilAll(phase, roles, expected, ({ textMs, endMs }) => textMs.length >= count || !isNaN(endMs));
  }

  #untilEnded(phase: number, roles: readonly string[], expected: readonly PlannedRequest[]): Promise<void> {
    return this.#untilAll(phase, roles, expected, ({ endMs }) => !isNaN(endMs));
  }

  /** Resolves when every request of these roles was sent and has come so far. */
  #untilAll(
    phase: number,
    roles: readonly string[],
    expected: readonly PlannedRequest[],
    isSoFar: (record: RequestRecord) => boolean,
  ): Promise<void> {
    const wanted = expected.filter(({ role }) => roles.includes(role)).length;
    return new Promise((resolve) => {
      const watcher = () => {
        const sent = this.requests.filter((each) => each.phase === phase && roles.includes(each.role));
        if (sent.length < wanted || !sent.every(isSoFar)) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
      watcher();
    });
  }
}
