import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { environment } from '../src/config.js';
import { computingEnvironment } from '../src/engine/computing-environment.js';
import type { LoadOrder, LoadReport } from './load-process.js';
import type { Plan, Recording } from './plan.js';
import type { TargetSpec } from './target.js';

const MAIN = fileURLToPath(new URL('load-process.js', import.meta.url));
const CLOSE_TIMEOUT_MS = 10_000;

/** The parent's end of one load generator. One order at a time. */
export class LoadGenerator {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;

  private constructor(more: Readonly<Record<string, string>>) {
    this.#child = fork(MAIN, [], {
      serialization: 'advanced',
      execArgv: [],
      env: { ...environment, ...more },
    });
    this.#exited = once(this.#child, 'exit').then(() => undefined);
  }

  /** Starts the process, and with it a model when the target is one. */
  static async open(spec: TargetSpec): Promise<LoadGenerator> {
    const generator = new LoadGenerator(spec.kind === 'raw' ? computingEnvironment(spec.model.rows) : {});
    try {
      await generator.#order({ type: 'open', spec });
      return generator;
    } catch (error) {
      await generator.close();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async drive(plan: Plan): Promise<Recording> {
    const report = await this.#order({ type: 'drive', plan });
    if (report.type !== 'recorded') throw new Error(`The load generator answered ${report.type}.`);
    return report.recording;
  }

  async #order(order: LoadOrder): Promise<LoadReport> {
    const answer = new Promise<LoadReport>((resolve, reject) => {
      this.#child.once('message', (message) => resolve(message as LoadReport));
      void this.#exited.then(() => reject(new Error('The load generator ended.')));
    });
    this.#child.send(order);
    const report = await answer;
    if (report.type === 'failed') throw new Error(report.reason);
    return report;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), CLOSE_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
  }
}
