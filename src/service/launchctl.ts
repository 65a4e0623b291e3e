import type { Commands } from '../machine/commands.js';
import { isDisabledIn, jobStateOf, type JobState } from './job-state.js';
import { exitOf, type Exit, type Verb } from './launchctl-exit.js';

const LAUNCHCTL = '/bin/launchctl';

/** `gui`: the user's session on the screen; `user`: all that runs for the user, also without one. */
export type Domain = `gui/${number}` | `user/${number}`;

/** What launchd answers when it is asked for the service in one domain. */
export type Found =
  | { name: 'loaded'; domain: Domain; job: JobState }
  | { name: 'absent' }
  | { name: 'no_session'; sentence: string }
  | { name: 'unknown'; sentence: string };

/** The verbs of launchctl for one service. Never rejects. `load`, `unload` and `list` hide failures and are not used. */
export class Launchctl {
  readonly #commands: Commands;
  readonly #label: string;

  constructor(commands: Commands, label: string) {
    this.#commands = commands;
    this.#label = label;
  }

  async print(domain: Domain): Promise<Found> {
    const result = await this.#run('print', this.#target(domain));
    const { action, sentence } = exitOf('print', result);
    // It is there, even if a later system describes it in words that cannot be read.
    if (action === 'done') return { name: 'loaded', domain, job: jobStateOf(result.stdout) ?? { phase: 'unknown' } };
    if (action === 'not_loaded') return { name: 'absent' };
    return { name: action === 'no_session' ? 'no_session' : 'unknown', sentence };
  }

  /** Whether the service was switched off for good, `undefined` if launchd does not say. The record belongs to the user
   *  and is the same in both domains. */
  async isDisabled(domain: Domain): Promise<boolean | undefined> {
    const { code, stdout } = await this.#commands.run(LAUNCHCTL, ['print-disabled', domain]);
    return code === 0 ? isDisabledIn(stdout, this.#label) : undefined;
  }

  async bootstrap(domain: Domain, plist: string): Promise<Exit> {
    return exitOf('bootstrap', await this.#run('bootstrap', domain, plist));
  }

  /** Answers before the process is gone. */
  bootout(domain: Domain): Promise<Exit> {
    return this.#act('bootout', domain);
  }

  enable(domain: Domain): Promise<Exit> {
    return this.#act('enable', domain);
  }

  /** Stays in force over reboots; does not stop what runs. */
  disable(domain: Domain): Promise<Exit> {
    return this.#act('disable', domain);
  }

  /** Starts the loaded service now; one that runs goes on. */
  kickstart(domain: Domain): Promise<Exit> {
    return this.#act('kickstart', domain);
  }

  /** Ends what runs at once (SIGKILL) and starts it anew. */
  async kickstartAnew(domain: Domain): Promise<Exit> {
    return exitOf('kickstart', await this.#run('kickstart', '-k', this.#target(domain)));
  }

  /** Asks the process to end. */
  async terminate(domain: Domain): Promise<Exit> {
    return exitOf('kill', await this.#run('kill', 'SIGTERM', this.#target(domain)));
  }

  async #act(verb: Verb, domain: Domain): Promise<Exit> {
    return exitOf(verb, await this.#run(verb, this.#target(domain)));
  }

  #run(verb: Verb, ...args: string[]) {
    return this.#commands.run(LAUNCHCTL, [verb, ...args]);
  }

  #target(domain: Domain): string {
    return `${domain}/${this.#label}`;
  }
}
