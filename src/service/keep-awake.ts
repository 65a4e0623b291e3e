import { spawn } from 'node:child_process';
import type { Log } from '../log.js';
import type { PowerSource } from '../machine/power.js';
import { every, type Clock } from '../util/clock.js';

const CAFFEINATE = '/usr/bin/caffeinate';
/** Idle sleep comes after a minute at the earliest: looking this often is in time. */
const LOOK_EVERY_MS = 15_000;

/** `on_ac`: while the Mac is plugged in; `busy`: while requests run, on any power; `never`: leave sleep alone. */
export type KeepAwakeMode = 'on_ac' | 'busy' | 'never';

/** Whether idle sleep is held off. An unknown power source, and a UPS on its battery, count as not plugged in. */
export function wantsAwake(mode: KeepAwakeMode, source: PowerSource | undefined, requestsRunning: number): boolean {
  switch (mode) {
    case 'on_ac':
      return source === 'ac';
    case 'busy':
      return requestsRunning > 0;
    case 'never':
      return false;
    default:
      return mode satisfies never;
  }
}

/** A process that holds something as long as it lives. */
export interface Holder {
  /** Resolves when it has ended, whatever ended it or kept it from starting. */
  readonly ended: Promise<void>;
  end(): void;
}

/** Starts the tool at an absolute path. Never throws: a tool that cannot be started has ended. */
export type StartHolder = (path: string, args: readonly string[]) => Holder;

export const startHolder: StartHolder = (path, args) => {
  const child = spawn(path, args, { cwd: '/', env: {}, stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  return { ended, end: () => void child.kill() };
};

interface KeepAwakeOptions {
  /** Asked at each look: a paused provider answers `never`. */
  mode: () => KeepAwakeMode;
  requestsRunning: () => number;
  powerSource: () => Promise<PowerSource | undefined>;
  start: StartHolder;
  /** The process that sleep is held off for: if it ends without a word, sleep is allowed again. */
  pid: number;
  platform: NodeJS.Platform;
  clock: Clock;
  log: Log;
}

/** Holds idle sleep off while that is wanted, by a `caffeinate` of its own. A closed lid and a Sleep that the owner
 *  chooses are not held off by anything. Does nothing on a machine that is not a Mac. */
export class KeepAwake {
  readonly #options: KeepAwakeOptions;
  #holder: Holder | undefined;
  #timer: Disposable | undefined;
  #closed = false;
  /** Looks happen one after the other. */
  #looking: Promise<void> = Promise.resolve();

  private constructor(options: KeepAwakeOptions) {
    this.#options = options;
  }

  static start(options: KeepAwakeOptions): KeepAwake {
    const awake = new KeepAwake(options);
    if (options.platform !== 'darwin') return awake;
    awake.#timer = every(options.clock, LOOK_EVERY_MS, () => void awake.look());
    void awake.look();
    return awake;
  }

  /** True while sleep is held off. */
  get holding(): boolean {
    return this.#holder !== undefined;
  }

  /** Decides anew, now: for a caller that knows of a change before the next look. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#decide());
    return this.#looking;
  }

  /** Allows sleep again. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    await this.#looking;
    const holder = this.#holder;
    holder?.end();
    await holder?.ended;
  }

  async #decide(): Promise<void> {
    const { mode, requestsRunning, powerSource, platform } = this.#options;
    if (this.#closed || platform !== 'darwin') return;
    const chosen = mode();
    const source = chosen === 'on_ac' ? await powerSource() : undefined;
    if (wantsAwake(chosen, source, requestsRunning())) this.#hold();
    else this.#holder?.end();
  }

  #hold(): void {
    if (this.#holder !== undefined) return;
    const { start, pid, log } = this.#options;
    // -i: no idle sleep; -s: on mains none at all; -w: until the process ends. Never -d: the display may sleep.
    const holder = start(CAFFEINATE, ['-i', '-s', '-w', String(pid)]);
    this.#holder = holder;
    log.debug('sleep held off');
    void holder.ended.then(() => {
      this.#holder = undefined; // if someone ended it from outside, the next look starts another one
      log.debug('sleep allowed');
    });
  }
}
