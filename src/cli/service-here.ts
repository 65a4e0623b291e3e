import { homedir } from 'node:os';
import type { Home } from '../config.js';
import { logFolderOf } from '../log.js';
import { describeAgent, type AgentState } from '../service/agent-state.js';
import { agentHere } from './agent-here.js';

/** What launchd says of the background service, for `status`, `why` and `doctor`. */
export interface ServiceHere {
  state: AgentState;
  /** The state in words. */
  sentence: string;
}

/** Asks launchd; `undefined` on a machine that is not a Mac. */
export async function serviceHere(home: Home): Promise<ServiceHere | undefined> {
  const state = await agentHere(home)?.state();
  if (state === undefined) return undefined;
  return { state, sentence: describeAgent(state, logFolderOf(process.platform, homedir(), home.folder)) };
}

const START = 'Start it: darkbloom-provider start';
const IN_TERMINAL = 'Or serve in this terminal: darkbloom-provider start --foreground';

/** Why no daemon answers in a home, and what to do. Pure. */
export function notRunning(service: ServiceHere | undefined): { sentence: string; nextStep: string } {
  if (service === undefined) return { sentence: 'No daemon runs in this home.', nextStep: START };
  const { state, sentence } = service;
  switch (state.name) {
    case 'not_installed':
      return { sentence: 'No daemon runs in this home.', nextStep: START };
    case 'off':
    case 'not_loaded':
      return { sentence, nextStep: START };
    case 'no_session':
    case 'unknown':
      return { sentence, nextStep: IN_TERMINAL };
    case 'failing':
      return {
        sentence,
        nextStep: 'Read what it wrote last (darkbloom-provider logs), mend it, then: darkbloom-provider start',
      };
    case 'loaded':
      return state.job.phase === 'idle'
        ? { sentence, nextStep: START }
        : { sentence: `${sentence} It does not answer yet.`, nextStep: 'Wait a moment and ask again.' };
    default:
      return state satisfies never;
  }
}

/** What `doctor` makes of it. A service that its owner has not installed, or has stopped, is in order. Pure. */
export function serviceVerdict({ state, sentence }: ServiceHere): {
  verdict: 'good' | 'warning' | 'bad';
  detail: string;
  fix?: string;
} {
  switch (state.name) {
    case 'not_installed':
    case 'off':
      return { verdict: 'good', detail: sentence };
    case 'no_session':
    case 'unknown':
      return { verdict: 'warning', detail: sentence };
    case 'not_loaded':
    case 'failing':
      return { verdict: 'bad', detail: sentence };
    case 'loaded': {
      const { spawnType } = state.job;
      if (spawnType === undefined || spawnType.startsWith('interactive')) return { verdict: 'good', detail: sentence };
      const detail = `${sentence} macOS runs it as ${spawnType}, which slows models down.`;
      return { verdict: 'warning', detail, fix: 'Write the service anew: darkbloom-provider start' };
    }
    default:
      return state satisfies never;
  }
}
