import type { SlotSnapshot } from '../engine/model-slot.js';
import type { InstalledModel } from '../models/store.js';
import { GIB } from '../util/byte-words.js';
import type {
  BackendCapacity,
  Hardware,
  Heartbeat,
  HeartbeatStats,
  ModelInfo,
  PrivacyCapabilities,
  Register,
  SlotCapacity,
  SystemMetrics,
} from '../protocol/provider-messages.js';

/** What this provider tells a coordinator about itself. Pure: facts in, frames out. */

interface RegisterFacts {
  hardware: Hardware;
  models: readonly InstalledModel[];
  capabilities: PrivacyCapabilities;
  version: string;
  publicKey: string;
  linkToken: string | undefined;
  serveOthers: boolean;
}

export function registerFrame(facts: RegisterFacts): Register {
  return {
    type: 'register',
    hardware: facts.hardware,
    models: facts.models.map(modelInfo),
    backend: 'llama.cpp',
    version: facts.version,
    public_key: facts.publicKey,
    encrypted_response_chunks: true,
    ...(facts.linkToken === undefined ? {} : { auth_token: facts.linkToken }),
    ...(facts.serveOthers ? {} : { private_only: true }),
    privacy_capabilities: facts.capabilities,
  };
}

/** A build as the wire knows it. */
export function modelInfo(model: InstalledModel): ModelInfo {
  return {
    id: model.id,
    size_bytes: model.sizeBytes,
    model_type: model.task === 'vectors' ? 'embedding' : 'text',
    quantization: model.quantization,
    ...(model.weightHash === undefined ? {} : { weight_hash: model.weightHash }),
    template_render_ok: model.templateRenderOk,
  };
}

interface HeartbeatFacts {
  slots: readonly SlotSnapshot[];
  kvBytesPerToken: (id: string) => number;
  metrics: SystemMetrics;
  memory: EngineMemory;
  stats: HeartbeatStats;
  /** Paused or draining: no new request is wanted. */
  closed: boolean;
}

export function heartbeatFrame(facts: HeartbeatFacts): Heartbeat {
  const resident = facts.slots.filter(({ state }) => state === 'ready');
  const busy = resident.filter(({ running }) => running > 0);
  const active = busy[0] ?? [...resident].sort((a, b) => b.lastUsed - a.lastUsed)[0];
  return {
    type: 'heartbeat',
    status: facts.closed ? 'draining' : busy.length > 0 ? 'serving' : 'idle',
    ...(active === undefined ? {} : { active_model: active.id }),
    stats: facts.stats,
    warm_models: resident.map(({ id }) => id),
    system_metrics: facts.metrics,
    backend_capacity: capacity(facts),
  };
}

/** Bytes. */
interface EngineMemory {
  limit: number;
  used: number;
  peak: number;
  /** What the system has left, whoever uses the rest. */
  available: number;
}

function capacity({ slots, kvBytesPerToken, memory }: HeartbeatFacts): BackendCapacity {
  const { limit, used, peak, available } = memory;
  const mayLeave = slots
    .filter(({ state, running, pinned }) => state === 'ready' && running === 0 && !pinned)
    .reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    slots: slots.flatMap((slot) =>
      slot.state === 'absent' ? [] : [slotCapacity(slot, slot.state, kvBytesPerToken(slot.id))],
    ),
    gpu_memory_active_gb: used / GIB,
    gpu_memory_peak_gb: peak / GIB,
    gpu_memory_cache_gb: 0,
    total_memory_gb: limit / GIB,
    free_for_load_gb: Math.max(0, Math.min(limit - used, available) + mayLeave) / GIB,
  };
}

function slotCapacity(slot: SlotSnapshot, state: TakenState, kvBytesPerToken: number): SlotCapacity {
  return {
    model: slot.id,
    state: wireState(state, slot.running),
    num_running: slot.running,
    num_waiting: slot.waiting,
    active_tokens: slot.activeTokens,
    max_tokens_potential: slot.reservedTokens,
    max_concurrency: slot.rows,
    ...(slot.decodeTps === undefined ? {} : { observed_decode_tps: slot.decodeTps }),
    ...(slot.prefillTps === undefined ? {} : { observed_prefill_tps: slot.prefillTps }),
    active_token_budget_used: slot.reservedTokens,
    active_token_budget_max: slot.rows * slot.contextTokens,
    queued_token_budget: slot.waiting * slot.contextTokens,
    kv_bytes_per_token: kvBytesPerToken,
    ...(slot.loadMs === undefined ? {} : { model_load_time_ms: slot.loadMs }),
  };
}

type TakenState = Exclude<SlotSnapshot['state'], 'absent'>;

/** The wire's word for a slot: `reloading` and `crashed` are not eligible for requests. */
function wireState(state: TakenState, running: number): string {
  switch (state) {
    case 'ready':
      return running > 0 ? 'running' : 'idle';
    case 'waiting':
    case 'loading':
    case 'unloading':
      return 'reloading';
    case 'failed':
      return 'crashed';
    default:
      return state satisfies never;
  }
}
