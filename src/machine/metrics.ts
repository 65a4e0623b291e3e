import type { SystemMetrics } from '../protocol/provider-messages.js';
import type { Commands } from './commands.js';
import { CpuMeter } from './cpu-meter.js';
import { readMemory } from './memory.js';
import { readThermalState } from './thermal.js';

/** The load of the machine, for the heartbeat. */
export class Metrics {
  readonly #commands: Commands;
  readonly #platform: NodeJS.Platform;
  readonly #meter = new CpuMeter();

  constructor(commands: Commands, platform: NodeJS.Platform) {
    this.#commands = commands;
    this.#platform = platform;
  }

  /** `cpu_usage` is the mean since the last call. Never rejects. */
  async read(): Promise<SystemMetrics> {
    const [memory, thermalState] = await Promise.all([
      readMemory(this.#commands, this.#platform),
      readThermalState(this.#commands, this.#platform),
    ]);
    return {
      memory_pressure: memory.pressure,
      cpu_usage: this.#meter.usage(),
      // The wire has no word for unknown.
      thermal_state: thermalState ?? 'nominal',
    };
  }
}
