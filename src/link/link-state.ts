import { RECONNECT_BASE_MS, RECONNECT_CAP_MS } from '../protocol/limits.js';

/**
 *   waiting ──timer──▶ dialing ──open──▶ registering ──sent──▶ online
 *      ▲                  └─────────────────┴── lost ────────────┤
 *      └─────────────────────────────────────────────────────────┘
 *   any ──woke──▶ waiting, for nothing
 *   any ──stop──▶ closed
 *
 * The wire has no acknowledgement of `register`: once it is flushed, the link is online. There is no last attempt.
 */
export type LinkState =
  | { name: 'waiting'; attempt: number; delayMs: number }
  | { name: 'dialing' | 'registering'; attempt: number }
  | { name: 'online'; attempt: number }
  | { name: 'closed' };

/** `random` is 0 to 1, for the jitter of the wait that may follow. `wasGood`: the connection ended in good order or had
 *  lasted; the next wait is a short one. A coordinator that drops us at once is not dialled every second. */
export type LinkEvent =
  | { type: 'timer' }
  | { type: 'open' }
  | { type: 'sent' }
  | { type: 'lost'; random: number; wasGood: boolean }
  | { type: 'woke' }
  | { type: 'stop' };

/** The only place where the link changes. An event that does not fit the state changes nothing. */
export function nextLinkState(state: LinkState, event: LinkEvent): LinkState {
  if (state.name === 'closed') return state;
  switch (event.type) {
    case 'timer':
      return state.name === 'waiting' ? { name: 'dialing', attempt: state.attempt } : state;
    case 'open':
      return state.name === 'dialing' ? { name: 'registering', attempt: state.attempt } : state;
    case 'sent':
      return state.name === 'registering' ? { name: 'online', attempt: state.attempt } : state;
    case 'lost': {
      if (state.name === 'waiting') return state;
      const attempt = event.wasGood ? 0 : state.attempt + 1;
      return { name: 'waiting', attempt, delayMs: backoffMs(attempt, event.random) };
    }
    case 'woke':
      return { name: 'waiting', attempt: 0, delayMs: 0 };
    case 'stop':
      return { name: 'closed' };
    default:
      return event satisfies never;
  }
}

/** Doubles from one second to half a minute; half of it fixed, half random. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(RECONNECT_CAP_MS, RECONNECT_BASE_MS * 2 ** Math.min(attempt, 10));
  return full / 2 + (full / 2) * random;
}
