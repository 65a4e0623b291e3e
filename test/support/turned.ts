import type { ManualClock } from './manual-clock.js';

/** What a promise comes to on a clock that is turned whenever everything waits for it. */
export async function turned<T>(clock: ManualClock, promise: Promise<T>, stepMs = 100): Promise<T> {
  let isSettled = false;
  const settle = () => (isSettled = true);
  promise.then(settle, settle);
  for (;;) {
    await new Promise(setImmediate);
    if (isSettled) return promise;
    if (clock.pending > 0) clock.turn(stepMs);
  }
}
