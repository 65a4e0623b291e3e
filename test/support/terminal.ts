import { execFileSync, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { environment } from '../../src/config.js';
import { eventually } from './eventually.js';
import { PROGRAM } from './command.js';

/** Whether a terminal multiplexer is there to drive a real terminal with. */
export const HAS_TMUX = spawnSync('tmux', ['-V']).status === 0;

interface TerminalOptions {
  columns: number;
  rows: number;
  home: string;
  env?: Record<string, string>;
  /** Another installation than this one. */
  program?: string;
}

/** A shell in a real terminal of some size: keys go in, the screen comes out. */
export class Terminal implements Disposable {
  readonly #socket = `darkbloom-${randomUUID()}`;

  constructor(readonly options: TerminalOptions) {
    const { columns, rows, home, env = {} } = options;
    const set = {
      PATH: environment['PATH'] ?? '',
      HOME: home,
      HISTFILE: '/dev/null', // a shell that is ended writes it
      DARKBLOOM_PROVIDER_HOME: home,
      LANG: 'C.UTF-8',
      ...env,
    };
    const words = Object.entries(set).map(([name, value]) => `${name}='${value}'`);
    const shell = `exec env -i TERM=screen-256color PS1='$ ' ${words.join(' ')} bash --norc --noprofile`;
    this.#tmux('-f', '/dev/null', 'new-session', '-d', '-x', String(columns), '-y', String(rows), shell);
  }

  /** Types a command of the program on an empty screen. */
  async run(args: string): Promise<void> {
    await this.shows(/\$$/u);
    this.#tmux('send-keys', '-l', 'clear');
    this.keys('Enter');
    await this.shows(/^\$$/u);
    this.#tmux('send-keys', '-l', `clear; ${this.options.program ?? PROGRAM} ${args}`);
    this.keys('Enter');
  }

  /** Keys by their names in tmux: `Enter`, `Up`, `C-c`. */
  keys(...names: string[]): void {
    this.#tmux('send-keys', ...names);
  }

  /** What is on the screen now, without the empty lines at its end. */
  screen(): string {
    const lines = this.#tmux('capture-pane', '-p').split('\n');
    return lines
      .map((line) => line.trimEnd())
      .join('\n')
      .trimEnd();
  }

  /** The screen as soon as it shows this.
   *  @throws Error with the screen when it does not. */
  async shows(pattern: RegExp): Promise<string> {
    try {
      return await eventually(String(pattern), () => {
        const screen = this.screen();
        return pattern.test(screen) ? screen : undefined;
      });
    } catch {
      throw new Error(`The screen does not show ${String(pattern)}:\n${this.screen()}`);
    }
  }

  #tmux(...args: string[]): string {
    return execFileSync('tmux', ['-L', this.#socket, ...args], { encoding: 'utf8' });
  }

  /** Ends everything that runs in it. */
  [Symbol.dispose](): void {
    this.#tmux('kill-server');
  }
}
