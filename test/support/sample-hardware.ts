import type { Hardware } from '../../src/protocol/provider-messages.js';

/** What a machine of a test says of itself. */
export const HARDWARE: Hardware = {
  machine_model: 'Mac16,5',
  chip_name: 'Apple M4 Max',
  chip_family: 'M4',
  chip_tier: 'Max',
  memory_gb: 64,
  memory_available_gb: 48,
  cpu_cores: { total: 16, performance: 12, efficiency: 4 },
  gpu_cores: 40,
  memory_bandwidth_gbs: 546,
};
