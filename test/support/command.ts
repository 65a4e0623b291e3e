import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { environment } from '../../src/config.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';

export const PROGRAM = join(PACKAGE_ROOT, 'bin/darkbloom-provider');

/** The command as a person runs it: a process of its own. `launcher` is what starts it in place of the program itself,
 *  for example a shell. */
export class RunningCommand implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #exited: Promise<number | null>;
  #closed = false;
  #stdout = '';
  #stderr = '';
  readonly #listeners = new Set<() => void>();

  constructor(
    args: readonly string[],
    home: string,
    env: Record<string, string> = {},
    launcher: readonly [string, ...string[]] = [PROGRAM],
  ) {
    const [program, ...before] = launcher;
    this.child = spawn(program, [...before, ...args], {
      env: { PATH: environment['PATH'], HOME: home, DARKBLOOM_PROVIDER_HOME: home, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (data: Buffer) => this.#take(() => (this.#stdout += data.toString('utf8'))));
    this.child.stderr?.on('data', (data: Buffer) => this.#take(() => (this.#stderr += data.toString('utf8'))));
    this.#exited = once(this.child, 'close').then(([code]) => {
      this.#take(() => (this.#closed = true));
      return code as number | null;
    });
  }

  #take(add: () => unknown): void {
    add();
    for (const listener of [...this.#listeners]) listener();
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The first match in the output, now or later.
   *  @throws Error when the command ended without it. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
      if (found !== null) return found;
      if (this.#closed) {
        throw new Error(`The command ended without saying ${String(pattern)}:\n${this.#stdout}\n${this.#stderr}`);
      }
      await new Promise<void>((resolve) => {
        const listener = () => {
          this.#listeners.delete(listener);
          resolve();
        };
        this.#listeners.add(listener);
      });
    }
  }

  /** The exit code. */
  ended(): Promise<number | null> {
    return this.#exited;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal);
    return this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.#exited;
  }
}

/** Runs a command to its end. */
export async function runCommand(args: readonly string[], home: string, env: Record<string, string> = {}) {
  await using command = new RunningCommand(args, home, env);
  const code = await command.ended();
  return { code, stdout: command.stdout, stderr: command.stderr };
}
