import { explainExit, isCrashLoop, type JobState } from './job-state.js';
import type { Domain, Found } from './launchctl.js';

/**
 * What the background service is, from what launchd and the disk say. `off`: installed, and stopped for good;
 * `not_loaded`: installed, should run, but launchd does not have it; `failing`: started again and again.
 */
export type AgentState =
  | { name: 'not_installed' | 'off' | 'not_loaded' }
  | { name: 'no_session' | 'unknown'; sentence: string }
  | { name: 'loaded' | 'failing'; domain: Domain; job: JobState };

export type Loaded = Extract<Found, { name: 'loaded' }>;

interface AgentFacts {
  /** The answers of the two domains, the session on the screen first. */
  found: readonly Found[];
  /** Its property list is in place. */
  installed: boolean;
  /** `undefined`: launchd does not say. */
  disabled: boolean | undefined;
}

export function agentStateOf({ found, installed, disabled }: AgentFacts): AgentState {
  const loaded = loadedIn(found);
  if (loaded !== undefined) {
    const { domain, job } = loaded;
    return { name: isCrashLoop(job) ? 'failing' : 'loaded', domain, job };
  }
  const [screen] = found;
  if (screen?.name === 'unknown') return { name: 'unknown', sentence: screen.sentence };
  if (!installed) return { name: 'not_installed' };
  if (disabled === true) return { name: 'off' };
  if (screen?.name === 'no_session') return { name: 'no_session', sentence: screen.sentence };
  return { name: 'not_loaded' };
}

/** The service in the domain where it is. */
export function loadedIn(found: readonly Found[]): Loaded | undefined {
  return found.find((answer) => answer.name === 'loaded');
}

export const SWITCHED_OFF =
  'macOS does not let the service run although it is installed and switched on here. It is probably switched off in ' +
  'System Settings > General > Login Items & Extensions, as darkbloom-provider: only you can switch it on there, then ' +
  'run `darkbloom-provider start`.';

/** The state in words, with the next step where one is needed. */
export function describeAgent(state: AgentState, logFolder: string): string {
  switch (state.name) {
    case 'not_installed':
      return 'The background service is not installed. `darkbloom-provider start` installs it.';
    case 'off':
      return 'The background service is stopped and stays so after a reboot, until `darkbloom-provider start`.';
    case 'not_loaded':
      return (
        'The background service is installed, but launchd has not loaded it. `darkbloom-provider start` loads it; if it ' +
        'does not, the service is switched off in System Settings > General > Login Items & Extensions.'
      );
    case 'no_session':
      return `Whether the background service runs cannot be told. ${state.sentence}`;
    case 'unknown':
      return `Whether the background service runs cannot be told: ${state.sentence}`;
    case 'failing':
      return describeFailure(state.job, logFolder);
    case 'loaded':
      return describeLoaded(state.job, logFolder);
    default:
      return state satisfies never;
  }
}

/** A service that does not stay up. */
export function describeFailure(job: JobState, logFolder: string): string {
  const { runs = 0 } = job;
  const often = runs > 1 ? `does not stay up: launchd has started it ${runs} times` : 'ended as soon as it was started';
  return `The background service ${often}. ${explainExit(job, logFolder)}`;
}

function describeLoaded(job: JobState, logFolder: string): string {
  switch (job.phase) {
    case 'running':
      return `The background service runs${job.pid === undefined ? '' : ` as process ${job.pid}`}.`;
    case 'starting':
      return 'The background service is being started.';
    case 'scheduled':
      return `launchd is about to start the background service. ${explainExit(job, logFolder)}`;
    case 'stopping':
      return 'The background service is stopping: it finishes the requests that run.';
    case 'idle':
      return (
        `The background service is loaded but does not run. ${explainExit(job, logFolder)} ` +
        '`darkbloom-provider start` starts it.'
      );
    case 'unknown':
      return 'The background service is loaded; what it does at this moment cannot be read.';
    default:
      return job.phase satisfies never;
  }
}
