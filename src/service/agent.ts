import { chmodSync, existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Commands } from '../machine/commands.js';
import type { Clock } from '../util/clock.js';
import { makePrivateFolder, readFileIfPresent } from '../util/files.js';
import { AGENT_LABEL, agentPlistPath, agentTemplate, EXIT_TIMEOUT_S, renderAgentPlist } from './agent-plist.js';
import {
  agentStateOf,
  describeAgent,
  describeFailure,
  loadedIn,
  SWITCHED_OFF,
  type AgentState,
  type Loaded,
} from './agent-state.js';
import { hasFailed, isCrashLoop, type JobState } from './job-state.js';
import { Launchctl, type Domain, type Found } from './launchctl.js';
import type { Exit } from './launchctl-exit.js';
import { launcherPath, writeLauncher } from './launcher.js';
import { placeFile } from './place-file.js';

const PLUTIL = '/usr/bin/plutil';
const PLIST_MODE = 0o644;
const ROOT_UID = 0;

const ASK_EVERY_MS = 500;
/** Beyond the time that launchd gives the process to end. */
const GONE_SLACK_MS = 5_000;
/** After a bootout the label stays taken for some seconds, longer than the process lives. */
const BOOTSTRAP_RETRY_MS = 15_000;
/** From the start to a process. */
const START_WAIT_MS = 10_000;
/** So often in a row launchd must say the same before it is believed: right after a start much passes by. */
const STEADY_ANSWERS = 2;

export interface AgentOutcome {
  /**
   * `waits_for_login`: installed, and launchd starts it when the user logs in on the screen; `switched_off`: only the
   * owner can allow it, in System Settings; `failing`: it started and ended; `failed`: launchd did not do what was asked.
   */
  name: 'running' | 'stopped' | 'removed' | 'waits_for_login' | 'switched_off' | 'failing' | 'failed';
  /** For the person: what is so now, and the next step where one is needed. */
  sentence: string;
}

interface Kick {
  kicked: Exit;
  before?: number | undefined;
}

interface AgentOptions {
  commands: Commands;
  clock: Clock;
  /** The user that the service belongs to. */
  uid: number;
  /** The home of this installation. */
  homeFolder: string;
  /** The home of the user. */
  userHome: string;
  logFolder: string;
  /** The path of Node.js that the service is started with, see `stableNodePath`. */
  node: string;
}

/**
 * The background service of a user, as a launchd agent. Every verb looks first, acts, and looks again: launchd answers
 * before it has done what it was asked, and its errors often mean that the thing is done already.
 *
 *   not installed ──start──▶ loaded ──stop──▶ off ──start──▶ loaded
 *         ▲                     └──uninstall──┬─┘
 *         └───────────────────────────────────┘
 */
export class Agent {
  readonly #options: AgentOptions;
  readonly #launchctl: Launchctl;
  readonly #plist: string;
  readonly #launcher: string;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#launchctl = new Launchctl(options.commands, AGENT_LABEL);
    this.#plist = agentPlistPath(options.userHome);
    this.#launcher = launcherPath(options.homeFolder);
  }

  /** What `start` writes and `uninstall` removes. */
  get files(): readonly string[] {
    return [this.#plist, this.#launcher];
  }

  async state(): Promise<AgentState> {
    const found = await this.#look();
    const disabled = loadedIn(found) === undefined ? await this.#isDisabled() : false;
    return agentStateOf({ found, installed: existsSync(this.#plist), disabled });
  }

  /** Installs the service where it is missing or not up to date, and sees that it runs, now and after every login. */
  async start(): Promise<AgentOutcome> {
    if (this.#options.uid === ROOT_UID) return NOT_FOR_ROOT;
    const found = await this.#look();
    const loaded = loadedIn(found);
    const [screen] = found;
    if (loaded === undefined && screen?.name === 'unknown') return failed(screen.sentence);
    const domain = loaded?.domain ?? this.#screen;
    const plist = this.#render(domain);

    // launchd keeps its own copy, so a new list is written only while it has none: a break in between mends itself.
    const wasTakenDown = loaded !== undefined && this.#mustGoFirst(loaded.job, plist);
    const down = wasTakenDown ? await this.#takeDown(loaded) : undefined;
    if (down?.name === 'failed') return down;
    this.#writeFiles(plist);
    const enabled = await this.#enable(domain);
    if (screen?.name === 'no_session' && loaded === undefined) return waitsForLogin(screen.sentence);
    if (enabled.action === 'give_up') return failed(enabled.sentence);

    if (loaded === undefined || wasTakenDown) {
      const exit = await this.#bootstrap(domain, wasTakenDown);
      if (exit.action === 'no_session') return waitsForLogin(exit.sentence);
      if (exit.action !== 'done') return failed(await this.#explainBootstrap(exit, wasTakenDown));
    }
    const kicked = await this.#launchctl.kickstart(domain);
    return this.#untilRunning(domain, { kicked });
  }

  /** Ends the service after its running requests, for good: it does not come back after a reboot. */
  async stop(): Promise<AgentOutcome> {
    if (this.#options.uid === ROOT_UID) return NOT_FOR_ROOT;
    const found = await this.#look();
    if (loadedIn(found) === undefined && !existsSync(this.#plist)) {
      return { name: 'stopped', sentence: 'The background service is not installed.' };
    }
    const disabled = await this.#eitherDomain((domain) => this.#launchctl.disable(domain));
    const down = await this.#takeDownAll(found);
    if (down !== undefined) return down;
    if (disabled.action !== 'done') return failed(`Stopped, but it comes back at the next login. ${disabled.sentence}`);
    const [screen] = found;
    if (loadedIn(found) === undefined && screen?.name === 'unknown') return failed(screen.sentence);
    return {
      name: 'stopped',
      sentence: 'Stopped. It stays stopped after a reboot, until `darkbloom-provider start`.',
    };
  }

  /** Ends the process after its running requests and starts a new one, with everything that `start` brings up to date.
   *  The job stays loaded over it, so no bootstrap can fail. */
  async restart(): Promise<AgentOutcome> {
    if (this.#options.uid === ROOT_UID) return NOT_FOR_ROOT;
    const loaded = loadedIn(await this.#look());
    if (loaded === undefined || readFileIfPresent(this.#plist) !== this.#render(loaded.domain)) return this.start();
    this.#writeFiles(undefined);
    const { domain, job } = loaded;
    if (job.pid !== undefined) {
      await this.#launchctl.terminate(domain);
      await this.#untilEnded(domain, job.pid, exitTimeoutMs(job));
    }
    // Also ends what has not ended, and starts at once what launchd holds back.
    const kicked = await this.#launchctl.kickstartAnew(domain);
    if (kicked.action === 'not_loaded') return this.start();
    return this.#untilRunning(domain, { kicked, before: job.pid });
  }

  /** Ends the service and removes what `start` has written, launchd's record of a stop included. */
  async uninstall(): Promise<AgentOutcome> {
    if (this.#options.uid === ROOT_UID) return NOT_FOR_ROOT;
    const down = await this.#takeDownAll(await this.#look());
    if (down !== undefined) return down;
    for (const file of this.files) rmSync(file, { force: true });
    const folder = dirname(this.#launcher);
    if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
    if ((await this.#isDisabled()) === true) await this.#enable(this.#screen);
    return { name: 'removed', sentence: 'The background service is removed.' };
  }

  get #screen(): Domain {
    return `gui/${this.#options.uid}`;
  }

  get #domains(): readonly [Domain, Domain] {
    return [this.#screen, `user/${this.#options.uid}`];
  }

  /** Both domains, the session on the screen first: the service stays in the one where it is. */
  #look(): Promise<Found[]> {
    return Promise.all(this.#domains.map((domain) => this.#launchctl.print(domain)));
  }

  async #isDisabled(): Promise<boolean | undefined> {
    const [screen, user] = this.#domains;
    return (await this.#launchctl.isDisabled(screen)) ?? (await this.#launchctl.isDisabled(user));
  }

  #enable(domain: Domain): Promise<Exit> {
    return domain === this.#screen
      ? this.#eitherDomain((either) => this.#launchctl.enable(either))
      : this.#launchctl.enable(domain);
  }

  /** The record of what is switched off is one for both domains: without a session on the screen the other one does. */
  async #eitherDomain(act: (domain: Domain) => Promise<Exit>): Promise<Exit> {
    const [screen, user] = this.#domains;
    const exit = await act(screen);
    return exit.action === 'no_session' ? act(user) : exit;
  }

  #render(domain: Domain): string {
    const { homeFolder, userHome, logFolder, node } = this.#options;
    return renderAgentPlist(agentTemplate(), {
      launcher: this.#launcher,
      nodeFolder: dirname(node),
      homeFolder,
      userHome,
      logFolder,
      sessions: domain === this.#screen ? 'screen' : 'every',
    });
  }

  /** Whether what is loaded is not what `plist` says, or is on its way out. */
  #mustGoFirst({ path = this.#plist, phase }: JobState, plist: string): boolean {
    return path !== this.#plist || phase === 'stopping' || readFileIfPresent(this.#plist) !== plist;
  }

  /** All that launchd needs to start the program; a folder that is missing would keep it from doing so. */
  #writeFiles(plist: string | undefined): void {
    const { homeFolder, logFolder, node } = this.#options;
    makePrivateFolder(homeFolder);
    makePrivateFolder(logFolder);
    writeLauncher(homeFolder, node);
    if (plist !== undefined) placeFile(this.#plist, plist, PLIST_MODE);
  }

  async #takeDownAll(found: readonly Found[]): Promise<AgentOutcome | undefined> {
    for (const answer of found) {
      const outcome = answer.name === 'loaded' ? await this.#takeDown(answer) : undefined;
      if (outcome?.name === 'failed') return outcome;
    }
    return undefined;
  }

  /** Boots the service out and waits until launchd does not know it any more. */
  async #takeDown({ domain, job }: Loaded): Promise<AgentOutcome> {
    const end = this.#options.clock.now() + exitTimeoutMs(job);
    let exit = await this.#launchctl.bootout(domain);
    for (;;) {
      const now = await this.#launchctl.print(domain);
      if (now.name === 'absent' || now.name === 'no_session') return { name: 'stopped', sentence: 'Stopped.' };
      const isGoing = exit.action === 'done' || (now.name === 'loaded' && now.job.phase === 'stopping');
      const isRefused = exit.action === 'give_up' || exit.action === 'no_session';
      if (isRefused && !isGoing) return failed(exit.sentence);
      if (this.#options.clock.now() >= end) {
        return failed(exit.action === 'done' ? 'launchd has not taken the service down in time.' : exit.sentence);
      }
      await this.#pause();
      if (!isGoing) exit = await this.#launchctl.bootout(domain);
    }
  }

  /** Loads the service. What means too many things is tried again; what is a plain no is tried once more where the
   *  service was taken down before, so that a passing fault does not leave it down. */
  async #bootstrap(domain: Domain, wasTakenDown: boolean): Promise<Exit> {
    const end = this.#options.clock.now() + BOOTSTRAP_RETRY_MS;
    for (let refusals = 0; ;) {
      const exit = await this.#launchctl.bootstrap(domain, this.#plist);
      if (exit.action === 'done' || exit.action === 'no_session') return exit;
      const now = await this.#launchctl.print(domain);
      if (now.name === 'loaded' && now.job.phase !== 'stopping') return { action: 'done', sentence: exit.sentence };
      if (now.name === 'no_session') return { action: 'no_session', sentence: now.sentence };
      if (exit.action === 'enable_first') await this.#enable(domain);
      if (exit.action === 'mend_file') chmodSync(this.#plist, PLIST_MODE);
      if (exit.action === 'give_up' && ++refusals > (wasTakenDown ? 1 : 0)) return exit;
      if (this.#options.clock.now() >= end) return exit;
      await this.#pause();
    }
  }

  /** launchd's error for everything gets what else can be found out. */
  async #explainBootstrap(exit: Exit, wasTakenDown: boolean): Promise<string> {
    const lint =
      exit.action === 'try_again' ? await this.#options.commands.run(PLUTIL, ['-lint', this.#plist]) : undefined;
    return [
      exit.sentence,
      lint === undefined || lint.code === 0 ? '' : `plutil says: ${(lint.stdout + lint.stderr).trim()}.`,
      exit.action === 'try_again' && (await this.#isDisabled()) === true
        ? 'The service is switched off in launchd.'
        : '',
      wasTakenDown ? 'The old service is stopped; the next login starts the new one.' : '',
    ]
      .filter((part) => part !== '')
      .join(' ');
  }

  /** Looks until launchd says the same twice: a process, other than `before`, or a failure.
   *  @param kicked what the last order to start was answered with */
  async #untilRunning(domain: Domain, { kicked, before }: Kick): Promise<AgentOutcome> {
    const { clock, logFolder } = this.#options;
    const end = clock.now() + START_WAIT_MS;
    let answer = '';
    let times = 0;
    for (;;) {
      const now = await this.#launchctl.print(domain);
      if (now.name === 'no_session') return waitsForLogin(now.sentence);
      const outcome = this.#outcomeOf(now, before);
      times = outcome !== undefined && outcome.sentence === answer ? times + 1 : 1;
      answer = outcome?.sentence ?? '';
      if (outcome !== undefined && times >= STEADY_ANSWERS) {
        if (outcome.name !== 'switched_off' || (await this.#isDisabled()) !== true) return outcome;
        return failed('Another command has stopped the service again.');
      }
      if (clock.now() >= end) {
        if (kicked.action === 'give_up') return failed(kicked.sentence);
        const state = agentStateOf({ found: [now], installed: true, disabled: await this.#isDisabled() });
        return failed(`The service was not started in time. ${describeAgent(state, logFolder)}`);
      }
      await this.#pause();
    }
  }

  /** What a start has come to, by the first of the two answers that tell it; `undefined`: not yet to anything. */
  #outcomeOf(now: Found, before: number | undefined): AgentOutcome | undefined {
    // launchd took it and does not have it: macOS drops what the owner has not allowed.
    if (now.name === 'absent') return { name: 'switched_off', sentence: SWITCHED_OFF };
    if (now.name !== 'loaded') return undefined;
    const { job } = now;
    if (isCrashLoop(job) || (job.phase === 'scheduled' && hasFailed(job))) {
      return { name: 'failing', sentence: describeFailure(job, this.#options.logFolder) };
    }
    if (job.phase !== 'running' || job.pid === undefined || job.pid === before) return undefined;
    return { name: 'running', sentence: `The background service runs as process ${job.pid}.` };
  }

  async #untilEnded(domain: Domain, pid: number, timeoutMs: number): Promise<void> {
    const end = this.#options.clock.now() + timeoutMs;
    for (;;) {
      const now = await this.#launchctl.print(domain);
      if (now.name === 'absent' || now.name === 'no_session') return;
      if (now.name === 'loaded' && now.job.pid !== pid) return;
      if (this.#options.clock.now() >= end) return;
      await this.#pause();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#options.clock.after(ASK_EVERY_MS, resolve));
  }
}

/** How long a process may take to end, by launchd's copy of the list and by ours. */
function exitTimeoutMs({ exitTimeoutS = 0 }: JobState): number {
  return Math.max(exitTimeoutS, EXIT_TIMEOUT_S) * 1_000 + GONE_SLACK_MS;
}

/** Root has no session of its own, and its files would be in the way of the user. */
const NOT_FOR_ROOT = failed('The service belongs to you, not to root: run the command without sudo.');

function failed(sentence: string): AgentOutcome {
  return { name: 'failed', sentence };
}

function waitsForLogin(sentence: string): AgentOutcome {
  return { name: 'waits_for_login', sentence: `Installed; it starts with the next login on the screen. ${sentence}` };
}
