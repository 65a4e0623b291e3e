import { describe, expect, test } from 'vitest';
import { machineView } from '../../src/coordinator/machine-view.js';
import { CHALLENGE_FRESHNESS_MS } from '../../src/protocol/limits.js';
import { ManualClock } from '../support/manual-clock.js';
import { BUILD, ScriptedProvider } from './scripted-provider.js';

const ALIASES = [{ id: 'tiny', displayName: 'Tiny', desiredBuild: BUILD, retiredBuilds: [] }];

function machine() {
  const clock = new ManualClock();
  const provider = new ScriptedProvider({ clock });
  return { clock, provider, view: () => machineView(provider.session, ALIASES, clock.now()) };
}

test('a machine is told with its models under the names that clients use', () => {
  const { provider, view } = machine();
  provider.ready().beat();
  expect(view()).toMatchObject({
    chip: 'Apple M4 Max',
    memory_gb: 64,
    state: 'ready',
    running: 0,
    connected_at: '2026-06-21T15:04:05.000Z',
    models: [{ id: 'tiny', build: BUILD, state: 'ready', running: 0, waiting: 0 }],
  });
});

describe('its state', () => {
  test('is checking until it passed a challenge, and when that is long ago', () => {
    const { clock, provider, view } = machine();
    expect(view().state).toBe('checking');
    provider.passChallenge();
    expect(view().state).toBe('ready');
    clock.turn(CHALLENGE_FRESHNESS_MS + 1);
    expect(view().state).toBe('checking');
  });

  test('is paused when it wants no request', () => {
    const { provider, view } = machine();
    provider.ready().beat({ status: 'draining' });
    expect(view().state).toBe('paused');
  });

  test('is untrusted, with the reason, after wrong answers', () => {
    const { provider, view } = machine();
    for (let wrong = 0; wrong < 3; wrong++) provider.passChallenge({ nonce: 'wrong' });
    expect(view()).toMatchObject({ state: 'untrusted', reason: expect.any(String) });
  });
});

test('a model whose first request runs is being loaded; what it writes is counted by the second', async () => {
  const { clock, provider, view } = machine();
  provider.ready();
  const attempt = provider.session.start(BUILD, { model: BUILD });
  expect(view()).toMatchObject({ state: 'busy', running: 1, models: [{ state: 'loading', running: 1 }] });
  const request = await provider.request();
  request.begin(3);
  for (const piece of ['one', 'two', 'three']) request.write(piece);
  clock.turn(1_000);
  request.write('four');
  clock.turn(1_000);
  expect(view().tokens_per_second.slice(-3)).toEqual([0, 3, 1]);
  request.complete({ prompt_tokens: 3, completion_tokens: 4 });
  expect(view().running).toBe(0);
  provider.session.abandon(attempt.requestId);
});

test('requests of others are told too; what is beyond its rows waits', () => {
  const { provider, view } = machine();
  provider.ready().beat({ rows: 2, running: 2, waiting: 1 });
  provider.session.start(BUILD, { model: BUILD });
  expect(view()).toMatchObject({ running: 2, waiting: 2, models: [{ running: 2, waiting: 2 }] });
});
