/** What a download has done so far, for people and for `--json`. */
export interface Progress {
  /** Bytes that lie on the disk, those of earlier runs included. */
  doneBytes: number;
  totalBytes: number;
  /** Over the last seconds; 0 before anything is known. */
  bytesPerSecond: number;
  /** Absent while nothing moves. */
  secondsLeft?: number;
}

/** Bytes done at a moment, ms since the epoch. */
export interface Sample {
  at: number;
  doneBytes: number;
}

/** The rate looks back so far. */
const RATE_WINDOW_MS = 10_000;
/** A rate over less time than this is noise. */
const SHORTEST_RATE_MS = 250;

/** The samples that a rate still needs, with the new one. The bytes of a sample never go back. */
export function withSample(samples: readonly Sample[], sample: Sample): Sample[] {
  const doneBytes = Math.max(sample.doneBytes, samples.at(-1)?.doneBytes ?? 0);
  const recent = samples.filter(({ at }) => sample.at - at <= RATE_WINDOW_MS);
  return [...recent, { at: sample.at, doneBytes }];
}

/** Progress at the last of these samples. */
export function progressOf(samples: readonly Sample[], totalBytes: number): Progress {
  const [first, last] = [samples[0], samples.at(-1)];
  const doneBytes = last?.doneBytes ?? 0;
  const elapsedMs = (last?.at ?? 0) - (first?.at ?? 0);
  const moved = doneBytes - (first?.doneBytes ?? 0);
  const bytesPerSecond = elapsedMs < SHORTEST_RATE_MS ? 0 : Math.round((moved * 1000) / elapsedMs);
  const left = totalBytes - doneBytes;
  return {
    doneBytes,
    totalBytes,
    bytesPerSecond,
    ...(bytesPerSecond === 0 ? {} : { secondsLeft: Math.ceil(left / bytesPerSecond) }),
  };
}
