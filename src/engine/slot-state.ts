import type { DarkbloomError } from '../errors.js';
import type { RunnerProcess } from './runner-process.js';

/**
 *   absent ──load──▶ loading ──loaded──▶ ready ──unload──▶ unloading ──gone──▶ absent
 *     ▲                 └──load failed──▶ failed ──retry──▶ absent
 *     └───────────── runner died ──────────┘ (from ready and unloading)
 *
 * A slot is unloaded only from ready, with nothing running or waiting.
 */
export type SlotState =
  | { name: 'absent' }
  | { name: 'loading' }
  | { name: 'ready'; runner: RunnerProcess; loadMs: number }
  | { name: 'unloading' }
  | { name: 'failed'; error: DarkbloomError; until: number };

export type SlotEvent =
  | { type: 'load' }
  | { type: 'loaded'; runner: RunnerProcess; loadMs: number }
  | { type: 'load_failed'; error: DarkbloomError; until: number }
  | { type: 'retry' }
  | { type: 'unload' }
  | { type: 'gone' };

/** The only place where a slot changes. An event that does not fit the state changes nothing. */
export function nextSlotState(state: SlotState, event: SlotEvent): SlotState {
  switch (event.type) {
    case 'load':
      return state.name === 'absent' ? { name: 'loading' } : state;
    case 'loaded':
      return state.name === 'loading' ? { name: 'ready', runner: event.runner, loadMs: event.loadMs } : state;
    case 'load_failed':
      return state.name === 'loading' ? { name: 'failed', error: event.error, until: event.until } : state;
    case 'retry':
      return state.name === 'failed' ? { name: 'absent' } : state;
    case 'unload':
      return state.name === 'ready' ? { name: 'unloading' } : state;
    case 'gone':
      return state.name === 'ready' || state.name === 'unloading' ? { name: 'absent' } : state;
    default:
      return event satisfies never;
  }
}
