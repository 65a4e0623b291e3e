/** Time as an argument: what a rule or a life that depends on time asks for. Tests pass one they turn by hand. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Calls `fire` once after `delayMs`. Disposing the timer prevents the call. */
  after(delayMs: number, fire: () => void): Disposable;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, fire) {
    const timer = setTimeout(fire, delayMs);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};

/** Calls `tick` again and again, `periodMs` after the last call returned, until disposed. */
export function every(clock: Clock, periodMs: number, tick: () => void): Disposable {
  let timer = clock.after(periodMs, run);
  let stopped = false;
  function run(): void {
    tick();
    if (!stopped) timer = clock.after(periodMs, run);
  }
  return {
    [Symbol.dispose]: () => {
      stopped = true;
      timer[Symbol.dispose]();
    },
  };
}
