import { cpus } from 'node:os';

/** Milliseconds one core spent, by kind, since the machine started. */
export type CoreTimes = Readonly<Record<'user' | 'nice' | 'sys' | 'idle' | 'irq', number>>;

/** Measures how busy the machine's cores are between two looks. */
export class CpuMeter {
  readonly #readCores: () => readonly CoreTimes[];
  #before: Sum;
  #share = 0;

  constructor(readCores: () => readonly CoreTimes[] = () => cpus().map((core) => core.times)) {
    this.#readCores = readCores;
    this.#before = sumOf(readCores());
  }

  /** Share of all cores' time that was not idle since the last call (at first: since the meter was made), 0 to 1.
   *  If no time has passed: the last share again. */
  usage(): number {
    const now = sumOf(this.#readCores());
    const total = now.total - this.#before.total;
    if (total > 0) {
      // A core that comes or goes between two looks can make the difference nonsense.
      this.#share = Math.min(1, Math.max(0, (now.busy - this.#before.busy) / total));
    }
    this.#before = now;
    return this.#share;
  }
}

interface Sum {
  busy: number;
  total: number;
}

function sumOf(cores: readonly CoreTimes[]): Sum {
  let busy = 0;
  let idle = 0;
  for (const core of cores) {
    busy += core.user + core.nice + core.sys + core.irq;
    idle += core.idle;
  }
  return { busy, total: busy + idle };
}
