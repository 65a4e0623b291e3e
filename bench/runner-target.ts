import { environment } from '../src/config.js';
import { Admission } from '../src/engine/admission.js';
import { RunnerProcess } from '../src/engine/runner-process.js';
import { longestSilenceMs } from '../src/engine/silence-watch.js';
import { PLAIN, type ChatRequest } from '../src/inference/types.js';
import { silentLog } from '../src/log.js';
import { systemClock } from '../src/util/clock.js';
import { SAMPLING, type ModelOrder, type Target, type TargetEvent, type TargetRequest } from './target.js';

/** A runner as the daemon has it, without the daemon: this process is the parent's end of the pipe. */
export class RunnerTarget implements Target {
  readonly #runner: RunnerProcess;
  /** A runner is never sent more requests than it has rows. */
  readonly #admission: Admission;

  private constructor(runner: RunnerProcess, rows: number) {
    this.#runner = runner;
    this.#admission = new Admission({ rows, model: 'runner', retryAfterS: () => 1 });
  }

  static async start({ path, rows, contextTokens, threads }: ModelOrder): Promise<RunnerTarget> {
    const runner = await RunnerProcess.start(
      { type: 'load', modelPath: path, rows, contextTokens, threads },
      {
        environment: { PATH: environment['PATH'] ?? '', HOME: environment['HOME'] ?? '' },
        longestSilenceMs: longestSilenceMs(0),
        clock: systemClock,
        log: silentLog(),
        signal: new AbortController().signal,
      },
    );
    return new RunnerTarget(runner, rows);
  }

  async *ask({ prompt, maxTokens }: TargetRequest, signal: AbortSignal): AsyncGenerator<TargetEvent> {
    const leave = await this.#admission.enter(true, signal);
    if (leave === undefined) return;
    const request: ChatRequest = {
      model: 'bench',
      messages: [{ role: 'user', content: prompt }],
      sampling: { ...SAMPLING, presencePenalty: 0, frequencyPenalty: 0, repetitionPenalty: 1 },
      stop: [],
      ...PLAIN,
      maxTokens,
      owner: true,
    };
    try {
      for await (const event of this.#runner.generate(request, signal, () => undefined)) {
        if (event.type === 'text') yield { type: 'text' };
        if (event.type === 'done') yield { type: 'end', ...event.usage };
      }
    } finally {
      leave();
    }
  }

  async close(): Promise<void> {
    await this.#runner.close();
  }
}
