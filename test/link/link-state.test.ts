import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backoffMs, nextLinkState, type LinkEvent, type LinkState } from '../../src/link/link-state.js';

const waiting: LinkState = { name: 'waiting', attempt: 3, delayMs: 8_000 };
const dialing: LinkState = { name: 'dialing', attempt: 3 };
const registering: LinkState = { name: 'registering', attempt: 3 };
const online: LinkState = { name: 'online', attempt: 3 };
const closed: LinkState = { name: 'closed' };
const states = [waiting, dialing, registering, online, closed];

const events: LinkEvent[] = [
  { type: 'timer' },
  { type: 'open' },
  { type: 'sent' },
  { type: 'lost', random: 0.5, wasGood: false },
  { type: 'woke' },
  { type: 'stop' },
];
const atOnce: LinkState = { name: 'waiting', attempt: 0, delayMs: 0 };

/** The arrows of the drawing; everything else changes nothing. */
const arrows: Record<string, LinkState> = {
  'waiting timer': dialing,
  'dialing open': registering,
  'registering sent': online,
  'dialing lost': { name: 'waiting', attempt: 4, delayMs: 12_000 },
  'registering lost': { name: 'waiting', attempt: 4, delayMs: 12_000 },
  'online lost': { name: 'waiting', attempt: 4, delayMs: 12_000 },
  'waiting woke': atOnce,
  'dialing woke': atOnce,
  'registering woke': atOnce,
  'online woke': atOnce,
  'waiting stop': closed,
  'dialing stop': closed,
  'registering stop': closed,
  'online stop': closed,
};

test.each(states.flatMap((state) => events.map((event) => ({ state, event }))))(
  'a link that is $state.name, on $event.type',
  ({ state, event }) => {
    const next = nextLinkState(state, event);
    const arrow = arrows[`${state.name} ${event.type}`];
    if (arrow === undefined) expect(next).toBe(state);
    else expect(next).toEqual(arrow);
  },
);

test('after a connection that was good the next wait is the shortest', () => {
  const next = nextLinkState(online, { type: 'lost', random: 0.5, wasGood: true });
  expect(next).toEqual({ name: 'waiting', attempt: 0, delayMs: 750 });
});

describe('the wait before the next attempt', () => {
  test.each([
    [0, 0, 500],
    [0, 1, 1_000],
    [1, 0, 1_000],
    [1, 0.5, 1_500],
    [4, 1, 16_000],
    [5, 0, 15_000],
    [5, 1, 30_000],
    [1e9, 1, 30_000],
  ])('after %i failures in a row and a throw of %f is %i ms', (attempt, random, delayMs) => {
    expect(backoffMs(attempt, random)).toBe(delayMs);
  });

  test('is never shorter than half a second, nor longer than half a minute', () => {
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, random) => {
        expect(backoffMs(attempt, random)).toBeGreaterThanOrEqual(500);
        expect(backoffMs(attempt, random)).toBeLessThanOrEqual(30_000);
      }),
    );
  });

  test('grows for as long as nothing answers, and there is no last attempt', () => {
    let state: LinkState = { name: 'waiting', attempt: 0, delayMs: 0 };
    const waits: number[] = [];
    for (let attempt = 0; attempt < 100; attempt++) {
      state = nextLinkState(nextLinkState(state, { type: 'timer' }), { type: 'lost', random: 1, wasGood: false });
      if (state.name === 'waiting') waits.push(state.delayMs);
    }
    expect(waits.slice(0, 6)).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(waits).toHaveLength(100);
  });
});
