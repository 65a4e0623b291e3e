import { existsSync } from 'node:fs';
import type { CommandResult, Commands } from '../../src/machine/commands.js';
import type { Clock } from '../../src/util/clock.js';

export const UID = 501;
const LABEL = 'io.darkbloom.provider-node';

interface Job {
  plist: string;
  /** As launchctl prints it. */
  state: string;
  pid: number | undefined;
  runs: number;
  lastExit: string;
  /** When a process that was asked to end has ended. */
  endsAt?: number;
  /** Whether the job is removed then, or stays loaded. */
  isLeaving: boolean;
}

/** What this launchd does, apart from the rule. */
interface Behaviour {
  /** The user is logged in on the screen. */
  session: boolean;
  /** From SIGTERM to the end of the process. */
  drainMs: number;
  /** So long after a job is gone its label cannot be used again; `print` knows nothing of it. */
  heldMs: number;
  /** What bootstrap answers in that time. */
  heldWith: number;
  /** A start comes to this: a process that stays, or one that ends at once with an exit code. */
  endsWith: number | undefined;
  /** Background Task Management: bootstrap works, and the job is dropped. */
  dropped: boolean;
}

const TEXTS: Readonly<Record<number, string>> = {
  3: 'No such process',
  5: 'Input/output error',
  37: 'Operation already in progress',
  112: 'Could not find specified domain',
  113: 'Could not find specified service',
  119: 'Service is disabled',
  125: 'Domain does not support specified action',
};

/** A launchd for one label, with the habits of the real one that hurt. `answers` are given first, each once, by verb. */
export class ScriptedLaunchd implements Commands {
  readonly calls: string[] = [];
  readonly answers: { verb: string; result: Partial<CommandResult> }[] = [];
  readonly behaviour: Behaviour;
  readonly jobs = new Map<string, Job>();
  isDisabled = false;
  /** Sees each call before it is answered. */
  watch: (call: string) => void = () => undefined;
  readonly #clock: Clock;
  #heldUntil = 0;
  #lastPid = 4000;

  constructor(clock: Clock, behaviour: Partial<Behaviour> = {}) {
    this.#clock = clock;
    this.behaviour = {
      session: true,
      drainMs: 0,
      heldMs: 0,
      heldWith: 5,
      endsWith: undefined,
      dropped: false,
      ...behaviour,
    };
  }

  /** The verbs that were called, without the questions. */
  get acts(): string[] {
    return this.calls.filter((call) => !call.startsWith('print'));
  }

  count(verb: string): number {
    return this.calls.filter((call) => call.startsWith(`${verb} `)).length;
  }

  /** Everything ends; after the login launchd loads what lies in the folder of agents and is not disabled. */
  reboot(plist: string): void {
    this.jobs.clear();
    if (existsSync(plist) && !this.isDisabled) this.#load(`gui/${UID}`, plist);
  }

  /** Puts a job into a domain as if someone had loaded it. */
  load(domain: string, plist: string, state: Partial<Job> = {}): void {
    this.#load(domain, plist);
    const job = this.jobs.get(domain);
    if (job !== undefined) Object.assign(job, state);
  }

  run(path: string, args: readonly string[]): Promise<CommandResult> {
    if (path !== '/bin/launchctl') {
      this.calls.push([path, ...args].join(' '));
      return Promise.resolve({ code: 0, stdout: `${args.at(-1) ?? ''}: OK\n`, stderr: '' });
    }
    this.calls.push(args.join(' '));
    this.watch(args.join(' '));
    this.#letTimePass();
    const scripted = this.answers.findIndex(({ verb }) => verb === args[0]);
    const result = scripted === -1 ? this.#answer(args) : this.answers.splice(scripted, 1)[0]?.result;
    return Promise.resolve({ code: 0, stdout: '', stderr: '', ...result });
  }

  #answer([verb = '', ...args]: readonly string[]): Partial<CommandResult> {
    const target = args.at(verb === 'bootstrap' ? 0 : -1) ?? '';
    const domain = target.replace(`/${LABEL}`, '');
    if (domain.startsWith('gui/') && !this.behaviour.session) {
      return failure(verb, verb === 'print' ? 112 : 125);
    }
    const job = this.jobs.get(domain);
    switch (verb) {
      case 'print':
        return job === undefined ? failure(verb, 113) : { stdout: printed(domain, job) };
      case 'print-disabled':
        return {
          stdout: `\tdisabled services = {\n\t\t"${LABEL}" => ${this.isDisabled ? 'disabled' : 'enabled'}\n\t}\n`,
        };
      case 'enable':
      case 'disable':
        this.isDisabled = verb === 'disable';
        return {};
      case 'bootstrap':
        return this.#bootstrap(domain, args[1] ?? '');
      case 'bootout':
        if (job === undefined) return failure(verb, 3);
        this.#terminate(job, true);
        return {};
      case 'kill':
        if (job?.pid === undefined) return failure(verb, 3);
        this.#terminate(job, false);
        return {};
      case 'kickstart':
        if (job === undefined) return failure(verb, 113);
        if (job.pid === undefined || args[0] === '-k') this.#spawn(job);
        return {};
      default:
        throw new TypeError(`launchctl ${verb} is not to be used.`);
    }
  }

  #bootstrap(domain: string, plist: string): Partial<CommandResult> {
    if (this.isDisabled) return failure('bootstrap', 119);
    if (this.jobs.has(domain)) return failure('bootstrap', 5);
    if (this.#clock.now() < this.#heldUntil) return failure('bootstrap', this.behaviour.heldWith);
    if (!this.behaviour.dropped) this.#load(domain, plist);
    return {};
  }

  #load(domain: string, plist: string): void {
    const job = { plist, state: 'not running', pid: undefined, runs: 0, lastExit: '(never exited)', isLeaving: false };
    this.jobs.set(domain, job);
    this.#spawn(job);
  }

  #spawn(job: Job): void {
    job.runs++;
    delete job.endsAt;
    const { endsWith } = this.behaviour;
    job.pid = endsWith === undefined ? ++this.#lastPid : undefined;
    job.state = endsWith === undefined ? 'running' : 'spawn scheduled';
    if (endsWith !== undefined) job.lastExit = String(endsWith);
  }

  #terminate(job: Job, isLeaving: boolean): void {
    job.state = 'SIGTERMed';
    job.endsAt = this.#clock.now() + this.behaviour.drainMs;
    job.isLeaving = isLeaving;
  }

  #letTimePass(): void {
    for (const [domain, job] of this.jobs) {
      if (job.endsAt === undefined || this.#clock.now() < job.endsAt) continue;
      Object.assign(job, { state: 'not running', pid: undefined, lastExit: '0', endsAt: undefined });
      if (!job.isLeaving) continue;
      this.jobs.delete(domain);
      this.#heldUntil = this.#clock.now() + this.behaviour.heldMs;
    }
  }
}

/** What launchctl prints when it fails: the number is its exit status. */
export function failure(verb: string, code: number, text = TEXTS[code] ?? 'unheard of'): CommandResult {
  if (code === 113) {
    const where = `Could not find service "${LABEL}" in domain for user gui: ${UID}`;
    return { code, stdout: '', stderr: `Bad request.\n${where}\n` };
  }
  const heads: Readonly<Record<string, string>> = { bootstrap: 'Bootstrap failed', bootout: 'Boot-out failed' };
  const head = heads[verb] ?? `Could not ${verb} service "${LABEL}"`;
  const advice = code === 5 ? 'Try re-running the command as root for richer errors.\n' : '';
  return { code, stdout: '', stderr: `${head}: ${code}: ${text}\n${advice}` };
}

function printed(domain: string, { plist, state, pid, runs, lastExit }: Job): string {
  return [
    `${domain}/${LABEL} = {`,
    '\tactive count = 1',
    `\tpath = ${plist}`,
    `\tstate = ${state}`,
    '',
    '\targuments = {',
    '\t\tstart',
    '\t}',
    '',
    '\texit timeout = 60',
    `\truns = ${runs}`,
    ...(pid === undefined ? [] : [`\tpid = ${pid}`]),
    `\tlast exit code = ${lastExit}`,
    '',
    '\tresource coalition = {',
    '\t\tstate = active',
    '\t}',
    '',
    '\tspawn type = interactive (4)',
    '}',
    '',
  ].join('\n');
}
