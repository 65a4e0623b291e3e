import { spawn, type ChildProcess } from 'node:child_process';

const STOP_TIMEOUT_MS = 15_000;
/** Of what a child says on stderr, kept for the error when it ends too early. */
const KEPT_CHARACTERS = 2_000;

const INTERRUPTED_EXIT = 130;

/** A signal ends the process by `exit`, so that what was started here ends with it. */
export function exitOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(INTERRUPTED_EXIT));
}

/** A server that was started here, and is the only thing that is ended here. */
export class Child {
  readonly #process: ChildProcess;
  readonly exited: Promise<void>;
  #said = '';

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.#process = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on('data', (data: Buffer) => (this.#said = (this.#said + data.toString('utf8')).slice(-KEPT_CHARACTERS)));
    }
    this.exited = new Promise((resolve) => {
      this.#process.once('close', () => resolve());
      this.#process.once('error', (error) => {
        this.#said += error.message;
        resolve();
      });
    });
    process.once('exit', () => this.#process.kill('SIGKILL')); // also when this process ends by an error
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Waits until `look` gives something.
   *  @throws Error with the child's last words when it ends first, or when it takes too long. */
  async until<T>(what: string, timeoutMs: number, look: () => Promise<T | undefined>): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    let ended = false;
    void this.exited.then(() => (ended = true));
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (ended) throw new Error(`The process ended before ${what}:\n${this.#said}`);
      if (performance.now() > deadline) throw new Error(`Not within ${timeoutMs / 1_000} s: ${what}.\n${this.#said}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.exited;
    clearTimeout(timer);
  }
}
