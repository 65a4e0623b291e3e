import { describe, expect, test } from 'vitest';
import { notRunning, serviceVerdict } from '../../src/cli/service-here.js';
import { describeAgent, type AgentState } from '../../src/service/agent-state.js';
import type { JobState } from '../../src/service/job-state.js';

const LOGS = '/Users/me/Library/Logs/darkbloom-provider';
const loaded = (job: JobState): AgentState => ({ name: 'loaded', domain: 'gui/501', job });
const here = (state: AgentState) => ({ state, sentence: describeAgent(state, LOGS) });

const FAILING: AgentState = {
  name: 'failing',
  domain: 'gui/501',
  job: { phase: 'scheduled', runs: 12, lastExit: { by: 'code', code: 70 } },
};

describe('where no daemon answers, it is told', () => {
  test.each<[string, AgentState, RegExp, RegExp]>([
    ['a service that is not installed', { name: 'not_installed' }, /^No daemon runs in this home\.$/u, /start$/u],
    ['one that was stopped', { name: 'off' }, /stopped and stays so after a reboot/u, /start$/u],
    ['one that macOS does not load', { name: 'not_loaded' }, /Login Items/u, /start$/u],
    ['one that does not stay up', FAILING, /launchd has started it 12 times\. It ended with exit code 70/u, /logs/u],
    ['one that runs', loaded({ phase: 'running', pid: 7 }), /as process 7\. It does not answer yet/u, /Wait a moment/u],
    [
      'one that ended by itself',
      loaded({ phase: 'idle', lastExit: { by: 'code', code: 0 } }),
      /does not run/u,
      /start$/u,
    ],
    [
      'a machine without a login',
      { name: 'no_session', sentence: 'Log in.' },
      /cannot be told\. Log in\./u,
      /--foreground$/u,
    ],
  ])('%s', (_, state, sentence, nextStep) => {
    const told = notRunning(here(state));
    expect(told.sentence).toMatch(sentence);
    expect(told.nextStep).toMatch(nextStep);
  });

  test('and without launchd, that none runs', () => {
    expect(notRunning(undefined)).toMatchObject({ sentence: 'No daemon runs in this home.' });
  });
});

test.each<[AgentState, string]>([
  [{ name: 'not_installed' }, 'good'],
  [{ name: 'off' }, 'good'],
  [{ name: 'not_loaded' }, 'bad'],
  [{ name: 'unknown', sentence: 'launchctl did not answer.' }, 'warning'],
  [FAILING, 'bad'],
  [loaded({ phase: 'running', pid: 7, spawnType: 'interactive (4)' }), 'good'],
  [loaded({ phase: 'running', pid: 7, spawnType: 'background (5)' }), 'warning'],
])('%j is %s to doctor', (state, verdict) => {
  expect(serviceVerdict(here(state))).toMatchObject({ verdict });
});
