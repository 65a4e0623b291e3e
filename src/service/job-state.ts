import { NOTHING_TO_RUN_EXIT } from './launcher.js';

/** A job that failed to stay up so often is in a loop, when launchd waits to start it again. */
const LOOP_RUNS = 3;
/** The same for a job that runs at this moment: over the weeks a healthy one may fail a few times. */
const STORM_RUNS = 100;
/** launchd could not prepare the program: its own use of EX_CONFIG. */
const LAUNCHD_CONFIG_EXIT = 78;

/**
 *   scheduled ──▶ starting ──▶ running ──▶ stopping ──▶ idle
 *       ▲                         └── failed ──▶ scheduled
 */
export type JobPhase = 'scheduled' | 'starting' | 'running' | 'stopping' | 'idle' | 'unknown';

/** How the run before this one ended. */
export type LastExit =
  { by: 'code'; code: number } | { by: 'reason'; reason: string } | { by: 'signal'; signal: string };

/** What launchd says of a job, as far as it says it. */
export interface JobState {
  phase: JobPhase;
  /** Only of a job that runs. */
  pid?: number;
  /** How often it was started since it was loaded. */
  runs?: number;
  /** Absent when it never ended. */
  lastExit?: LastExit;
  /** The property list that launchd took it from. */
  path?: string;
  program?: string;
  /** `interactive (4)` is the only one at full speed. */
  spawnType?: string;
  /** Why it was started last; `inefficient`: again, because it ended too soon. */
  startedFor?: string;
  /** From SIGTERM to SIGKILL, seconds. */
  exitTimeoutS?: number;
}

const PHASES: Readonly<Record<string, JobPhase>> = {
  running: 'running',
  'not running': 'idle',
  exited: 'idle',
  'spawn scheduled': 'scheduled',
  spawning: 'starting',
  xpcproxy: 'starting',
  SIGTERMed: 'stopping',
  SIGKILLed: 'stopping',
  languishing: 'stopping',
};

/** Reads `launchctl print DOMAIN/LABEL`; `undefined`: nothing in it can be read. */
export function jobStateOf(output: string): JobState | undefined {
  const values = ownValues(output);
  if (values.size === 0) return undefined;
  const number = (key: string) => wholeNumberOf(values.get(key));
  return defined({
    phase: PHASES[values.get('state') ?? ''] ?? 'unknown',
    pid: number('pid'),
    runs: number('runs'),
    lastExit: lastExitOf(values),
    path: values.get('path'),
    program: values.get('program'),
    spawnType: values.get('spawn type'),
    startedFor: values.get('immediate reason'),
    exitTimeoutS: number('exit timeout'),
  });
}

/**
 * The lines of the job itself: those with exactly one tab. Blocks inside hold states of other things and end where a
 * brace stands at the same depth; an argument of several lines may put anything at the beginning of a line, so the first
 * value of a key counts.
 */
function ownValues(output: string): Map<string, string> {
  const values = new Map<string, string>();
  let inBlock = false;
  for (const line of output.split('\n')) {
    const own = /^\t([^\t].*)$/.exec(line)?.[1];
    if (own === undefined) continue;
    if (inBlock) {
      inBlock = own !== '}';
    } else if (own.endsWith('= {')) {
      inBlock = true;
    } else {
      const [, key, value] = /^(.+?) = ?(.*)$/.exec(own) ?? [];
      if (key !== undefined && value !== undefined && !values.has(key)) values.set(key, value);
    }
  }
  return values;
}

function lastExitOf(values: ReadonlyMap<string, string>): LastExit | undefined {
  const reason = values.get('last exit reason');
  if (reason !== undefined) return { by: 'reason', reason };
  const signal = values.get('last terminating signal');
  if (signal !== undefined) return { by: 'signal', signal };
  const code = wholeNumberOf(/^\d+/.exec(values.get('last exit code') ?? '')?.[0]); // `78: EX_CONFIG`
  return code === undefined ? undefined : { by: 'code', code };
}

function wholeNumberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Without the members that are not known. */
function defined(state: { [Key in keyof JobState]: JobState[Key] | undefined } & { phase: JobPhase }): JobState {
  const known = Object.entries(state).filter(([, value]) => value !== undefined);
  return { phase: state.phase, ...Object.fromEntries(known) };
}

/** Reads `launchctl print-disabled DOMAIN`: whether a label may not be started. A label that is not listed may.
 *  Older systems say `true` and `false`. */
export function isDisabledIn(output: string, label: string): boolean {
  return output.split('\n').some((line) => {
    const [, name, value] = /^\s*"([^"]+)" => (\w+)$/.exec(line.trimEnd()) ?? [];
    return name === label && (value === 'disabled' || value === 'true');
  });
}

/** True when the run before this one did not end as it should. */
export function hasFailed({ lastExit }: JobState): boolean {
  return lastExit !== undefined && (lastExit.by !== 'code' || lastExit.code !== 0);
}

/** True when launchd starts the job again and again because it does not stay up. A first start that is due, or starts
 *  after clean ends, are no loop. */
export function isCrashLoop(job: JobState): boolean {
  const { phase, runs = 0, startedFor } = job;
  if (!hasFailed(job)) return false;
  if (phase === 'scheduled') return runs >= LOOP_RUNS;
  return phase === 'running' && startedFor === 'inefficient' && runs >= STORM_RUNS;
}

/** Why the last run ended and what to do, in two sentences. */
export function explainExit({ lastExit }: JobState, logFolder: string): string {
  if (lastExit === undefined) return 'It has not ended so far.';
  const look = `The last lines in ${logFolder} say why.`;
  switch (lastExit.by) {
    case 'reason':
      return /CODESIGNING/u.test(lastExit.reason)
        ? 'macOS refused the signature of Node.js. Install Node.js again, then run `darkbloom-provider start`.'
        : `macOS ended it (${lastExit.reason}). ${look}`;
    case 'signal':
      return `It was ended by the signal ${lastExit.signal}. ${look}`;
    case 'code':
      return explainCode(lastExit.code, look);
    default:
      return lastExit satisfies never;
  }
}

function explainCode(code: number, look: string): string {
  switch (code) {
    case 0:
      return 'It ended by itself, without a fault.';
    case LAUNCHD_CONFIG_EXIT:
      return (
        'launchd could not start the program (78, EX_CONFIG): the launcher or its folder is gone or may not be run. ' +
        'Run `darkbloom-provider start` to write it anew.'
      );
    case NOTHING_TO_RUN_EXIT:
      return (
        `Its Node.js or the package itself is gone (exit code ${code}). Install what is missing, then run ` +
        `\`darkbloom-provider start\`. ${look}`
      );
    default:
      return `It ended with exit code ${code}. ${look}`;
  }
}
