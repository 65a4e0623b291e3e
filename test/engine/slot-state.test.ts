import { expect, test } from 'vitest';
import { nextSlotState, type SlotEvent, type SlotState } from '../../src/engine/slot-state.js';
import type { RunnerProcess } from '../../src/engine/runner-process.js';
import { DarkbloomError } from '../../src/errors.js';

// The rule passes the runner on and never looks at it.
const runner = Object.freeze({}) as RunnerProcess;
const error = new DarkbloomError('model_corrupt', 'x');

const absent: SlotState = { name: 'absent' };
const waiting: SlotState = { name: 'waiting' };
const loading: SlotState = { name: 'loading' };
const ready: SlotState = { name: 'ready', runner, loadMs: 5 };
const unloading: SlotState = { name: 'unloading' };
const failed: SlotState = { name: 'failed', error, until: 9 };
const states = [absent, waiting, loading, ready, unloading, failed];

const events: SlotEvent[] = [
  { type: 'load' },
  { type: 'given_up' },
  { type: 'room_made' },
  { type: 'loaded', runner, loadMs: 5 },
  { type: 'load_failed', error, until: 9 },
  { type: 'retry' },
  { type: 'unload' },
  { type: 'gone' },
];

/** The arrows of the drawing; everything else changes nothing. */
const arrows: Record<string, SlotState> = {
  'absent load': waiting,
  'waiting given_up': absent,
  'waiting room_made': loading,
  'loading loaded': ready,
  'loading load_failed': failed,
  'failed retry': absent,
  'ready unload': unloading,
  'ready gone': absent,
  'unloading gone': absent,
};

test.each(states.flatMap((state) => events.map((event) => ({ state, event }))))(
  'a slot that is $state.name, on $event.type',
  ({ state, event }) => {
    const next = nextSlotState(state, event);
    const arrow = arrows[`${state.name} ${event.type}`];
    if (arrow === undefined) expect(next).toBe(state);
    else expect(next).toEqual(arrow);
  },
);
