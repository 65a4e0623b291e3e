import type { Heartbeat, Register, SlotCapacity } from '../../src/protocol/provider-messages.js';
import { HARDWARE } from './sample-hardware.js';

interface SampleRegister {
  build: string;
  publicKey: string;
  /** Without it the machine belongs to nobody. */
  linkToken?: string;
}

/** What a machine of a test says first: it has one build, and seals. */
export function sampleRegister({ build, publicKey, linkToken }: SampleRegister): Register {
  return {
    type: 'register',
    hardware: HARDWARE,
    models: [{ id: build, size_bytes: 1, model_type: 'text', quantization: 'F16' }],
    backend: 'llama.cpp',
    public_key: publicKey,
    encrypted_response_chunks: true,
    ...(linkToken === undefined ? {} : { auth_token: linkToken }),
  };
}

/** What a heartbeat says of the build. */
export interface SampleBeat extends Partial<Omit<SlotCapacity, 'model'>> {
  /** Requests that it answers at once. */
  rows?: number;
  running?: number;
  waiting?: number;
  /** Of the machine. */
  status?: string;
}

/** The heartbeat of a machine that has the build in memory. */
export function sampleHeartbeat(build: string, beat: SampleBeat = {}): Heartbeat {
  const { rows = 4, running = 0, waiting = 0, status = 'idle', ...figures } = beat;
  const slot: SlotCapacity = {
    model: build,
    state: 'idle',
    ...figures,
    active_tokens: 0,
    max_tokens_potential: 0,
    max_concurrency: rows,
    num_running: running,
    num_waiting: waiting,
  };
  return {
    type: 'heartbeat',
    status,
    stats: { requests_served: 0, tokens_generated: 0 },
    system_metrics: { memory_pressure: 0, cpu_usage: 0, thermal_state: 'nominal' },
    backend_capacity: {
      slots: [slot],
      gpu_memory_active_gb: 0,
      gpu_memory_peak_gb: 0,
      gpu_memory_cache_gb: 0,
      total_memory_gb: 8,
    },
  };
}
