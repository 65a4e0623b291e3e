import type { DarkbloomError } from '../errors.js';
import type { RunnerProcess } from './runner-process.js';

/**
 *   absent ──load──▶ waiting ──room made──▶ loading ──loaded──▶ ready ──unload──▶ unloading ──gone──▶ absent
 *     ▲                 │                      └──load failed──▶ failed ──retry──▶ absent
 *     ├──── given up ───┘
 *     └───────────────────── runner died ─────────────────────────┘ (from ready and unloading)
 *
 * Waiting is for memory that other models have. A slot is unloaded only from ready, with nothing running.
 */
export type SlotState =
  | { name: 'absent' }
  | { name: 'waiting' }
  | { name: 'loading' }
  | { name: 'ready'; runner: RunnerProcess; loadMs: number }
  | { name: 'unloading' }
  | { name: 'failed'; error: DarkbloomError; until: number };

export type SlotEvent =
  | { type: 'load' }
  | { type: 'given_up' }
  | { type: 'room_made' }
  | { type: 'loaded'; runner: RunnerProcess; loadMs: number }
  | { type: 'load_failed'; error: DarkbloomError; until: number }
  | { type: 'retry' }
  | { type: 'unload' }
  | { type: 'gone' };

/** The only place where a slot changes. An event that does not fit the state changes nothing. */
export function nextSlotState(state: SlotState, event: SlotEvent): SlotState {
  switch (event.type) {
    case 'load':
      return state.name === 'absent' ? { name: 'waiting' } : state;
    case 'given_up':
      return state.name === 'waiting' ? { name: 'absent' } : state;
    case 'room_made':
      return state.name === 'waiting' ? { name: 'loading' } : state;
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
