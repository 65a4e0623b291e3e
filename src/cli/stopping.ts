/** The first Ctrl-C (or SIGTERM) asks to stop, the second one to stop now. */
export interface StopSignals extends Disposable {
  /** Resolves with the first signal, or with `ask`. */
  asked: Promise<void>;
  /** Asks in place of a signal. */
  ask: () => void;
  /** Aborted by the second one. */
  force: AbortSignal;
}

export function listenForStop(): StopSignals {
  const force = new AbortController();
  let onFirst: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => (onFirst = resolve));
  let count = 0;
  const onSignal = () => {
    count++;
    if (count === 1) onFirst();
    else force.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const forget = () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
  return { asked, ask: onSignal, force: force.signal, [Symbol.dispose]: forget };
}
