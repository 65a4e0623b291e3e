import { PING_PERIOD_MS, SLEEP_GAP_MS } from '../protocol/limits.js';
import { every, type Clock } from '../util/clock.js';

const LOOK_EVERY_MS = PING_PERIOD_MS;
/** A timer so late means a short sleep, or a process that was held up: the system must say which. */
const LATE_MS = 2_000;

interface WakeOptions {
  clock: Clock;
  /** When the machine woke up last, ms since the epoch; `undefined` where the system does not say. Never rejects. */
  wakeTime: () => Promise<number | undefined>;
  /** Once after each sleep that was noticed. */
  woke: () => void;
}

/** Notices that the machine slept: time goes on meanwhile, and timers come late. */
export function watchWakes({ clock, wakeTime, woke }: WakeOptions): Disposable {
  let lastLook = clock.now();
  return every(clock, LOOK_EVERY_MS, () => {
    const before = lastLook;
    lastLook = clock.now();
    const late = lastLook - before - LOOK_EVERY_MS;
    if (late > SLEEP_GAP_MS) woke();
    else if (late > LATE_MS) void wakeTime().then((at) => at !== undefined && at > before && woke());
  });
}
