import { z } from 'zod';

/** Provider → coordinator. Names are those of the wire; unknown keys are dropped. */

const Base64 = z.string().describe('standard base64 with padding');

/** An X25519 box: `ciphertext` is nonce (24 bytes) and box (16-byte tag first). */
export const Sealed = z.object({
  ephemeral_public_key: Base64.describe('base64 of 32 bytes: the key of the sender'),
  ciphertext: Base64.describe('base64 of nonce and box'),
});
export type Sealed = z.infer<typeof Sealed>;

export const Hardware = z.object({
  machine_model: z.string().describe('`Mac16,5`'),
  chip_name: z.string().describe('`Apple M4 Max`'),
  chip_family: z.string().describe('`M1` and up, or `Unknown`'),
  chip_tier: z.string().describe('`Base`, `Pro`, `Max`, `Ultra` or `Unknown`'),
  memory_gb: z.number().describe('physical memory, GiB, rounded down'),
  memory_available_gb: z.number().describe('GiB'),
  cpu_cores: z.object({ total: z.number().int(), performance: z.number().int(), efficiency: z.number().int() }),
  gpu_cores: z.number().int(),
  memory_bandwidth_gbs: z.number().describe('GB/s of the chip; 0: not known'),
});
export type Hardware = z.infer<typeof Hardware>;

export const ModelInfo = z.object({
  id: z.string().min(1).describe('build id, never the alias'),
  size_bytes: z.number().int().nonnegative(),
  model_type: z.string(),
  quantization: z.string(),
  weight_hash: z.string().optional().describe("the manifest's aggregate, 64 hex; absent: not computed"),
  is_vision: z.boolean().optional(),
  template_render_ok: z.boolean().optional().describe('absent: not tested; false: no request comes for this model'),
});
export type ModelInfo = z.infer<typeof ModelInfo>;

export const PrivacyCapabilities = z.object({
  text_backend_inprocess: z.boolean(),
  text_proxy_disabled: z.boolean(),
  python_runtime_locked: z.boolean(),
  dangerous_modules_blocked: z.boolean(),
  sip_enabled: z.boolean(),
  anti_debug_enabled: z.boolean(),
  core_dumps_disabled: z.boolean(),
  env_scrubbed: z.boolean(),
  hypervisor_active: z.boolean().optional(),
});
export type PrivacyCapabilities = z.infer<typeof PrivacyCapabilities>;

export const Register = z
  .object({
    type: z.literal('register'),
    hardware: Hardware,
    models: z.array(ModelInfo),
    backend: z.string().describe('`llama.cpp`: what really runs the models'),
    version: z.string().optional(),
    public_key: z.string().optional().describe('base64 of the 32-byte X25519 key requests are sealed to'),
    encrypted_response_chunks: z.boolean().optional(),
    attestation: z.unknown().optional().describe('never sent by this provider: it has no Secure Enclave key'),
    prefill_tps: z.number().optional().describe('tokens per second'),
    decode_tps: z.number().optional().describe('tokens per second'),
    auth_token: z.string().optional().describe('links the machine to an account'),
    private_only: z.boolean().optional().describe("true: only the owner's own requests come here"),
    privacy_capabilities: PrivacyCapabilities.optional(),
  })
  .describe('First frame of a connection, exactly once. There is no acknowledgement.');
export type Register = z.infer<typeof Register>;

export const SlotCapacity = z.object({
  model: z.string(),
  state: z.string().describe('`running`, `idle`, `idle_shutdown`, `reloading` or `crashed`'),
  num_running: z.number().int().nonnegative(),
  num_waiting: z.number().int().nonnegative(),
  active_tokens: z.number().nonnegative().describe('tokens in context over running requests'),
  max_tokens_potential: z.number().nonnegative().describe('prompt and output bound over running requests'),
  max_concurrency: z.number().int().optional(),
  observed_decode_tps: z.number().optional(),
  observed_prefill_tps: z.number().optional(),
  active_token_budget_used: z.number().optional().describe('tokens reserved'),
  active_token_budget_max: z.number().optional().describe('context tokens over all sequences'),
  queued_token_budget: z.number().optional(),
  kv_bytes_per_token: z.number().optional(),
  model_load_time_ms: z.number().optional(),
});
export type SlotCapacity = z.infer<typeof SlotCapacity>;

export const BackendCapacity = z.object({
  slots: z.array(SlotCapacity),
  gpu_memory_active_gb: z.number(),
  gpu_memory_peak_gb: z.number(),
  gpu_memory_cache_gb: z.number(),
  total_memory_gb: z.number().describe('GiB the engine may use at most'),
  free_for_load_gb: z.number().optional().describe('GiB really free for another model'),
});
export type BackendCapacity = z.infer<typeof BackendCapacity>;

export const ThermalState = z.enum(['nominal', 'fair', 'serious', 'critical']);
export type ThermalState = z.infer<typeof ThermalState>;

export const SystemMetrics = z.object({
  memory_pressure: z.number().describe('0 to 1'),
  cpu_usage: z.number().describe('0 to 1'),
  thermal_state: ThermalState,
});
export type SystemMetrics = z.infer<typeof SystemMetrics>;

export const HeartbeatStats = z.object({
  requests_served: z.number().int(),
  tokens_generated: z.number().int(),
  cancellations_received: z.number().int().optional(),
  cancellations_before_output: z.number().int().optional(),
  cancellations_partial_complete: z.number().int().optional(),
  generation_errors_after_output: z.number().int().optional(),
});
export type HeartbeatStats = z.infer<typeof HeartbeatStats>;

export const Heartbeat = z
  .object({
    type: z.literal('heartbeat'),
    status: z.string().describe('`idle` or `serving`; `draining` while paused or draining'),
    active_model: z.string().nullish(),
    stats: HeartbeatStats,
    warm_models: z.array(z.string()).optional().describe('builds in memory; replaces the list before'),
    system_metrics: SystemMetrics.optional(),
    backend_capacity: BackendCapacity.optional(),
  })
  .describe('Every 5 s, the first one 5 s after `register`.');
export type Heartbeat = z.infer<typeof Heartbeat>;

export const ModelsUpdate = z
  .object({ type: z.literal('models_update'), models: z.array(ModelInfo) })
  .describe('Builds that became available after registering; merged by id.');

export const LoadModelStatus = z
  .object({
    type: z.literal('load_model_status'),
    model_id: z.string(),
    status: z.enum(['started', 'succeeded', 'failed']),
    error: z.string().optional(),
  })
  .describe('Answer to `load_model`.');

export const PrefetchModelStatus = z
  .object({
    type: z.literal('prefetch_model_status'),
    model_id: z.string(),
    status: z.enum(['started', 'downloading', 'verified', 'failed']),
    bytes_done: z.number().optional(),
    bytes_total: z.number().optional(),
    error: z.string().optional(),
  })
  .describe('Answer to `prefetch_model`.');

export const InferenceAccepted = z
  .object({ type: z.literal('inference_accepted'), request_id: z.string().min(1) })
  .describe('The request was opened, parsed and admitted; sent before any model load.');

export const InferenceResponseChunk = z
  .object({
    type: z.literal('inference_response_chunk'),
    request_id: z.string().min(1),
    encrypted_data: Sealed.optional().describe(
      'sealed to the request; its key is the registered `public_key`. Plaintext: one SSE event, `data: ` and JSON',
    ),
    data: z.string().optional().describe('plaintext; always absent'),
  })
  .describe('One piece of the answer.');
export type InferenceResponseChunk = z.infer<typeof InferenceResponseChunk>;

export const WireUsage = z.object({
  prompt_tokens: z.number().int().nonnegative(),
  completion_tokens: z.number().int().nonnegative(),
  reasoning_tokens: z.number().int().nonnegative().optional(),
});
export type WireUsage = z.infer<typeof WireUsage>;

export const InferenceComplete = z
  .object({
    type: z.literal('inference_complete'),
    request_id: z.string().min(1),
    usage: WireUsage,
    response_hash: z.string().optional(),
    se_signature: z.string().optional().describe('never sent by this provider'),
    stop_sequence: z.string().optional().describe('the stop string that ended the answer (later protocol)'),
  })
  .describe('The good last frame of a request.');
export type InferenceComplete = z.infer<typeof InferenceComplete>;

export const InferenceError = z
  .object({
    type: z.literal('inference_error'),
    request_id: z.string().min(1),
    error: z.string().describe('never contains prompt or answer text'),
    status_code: z.number().int(),
    error_reason: z.string().optional(),
  })
  .describe('The bad last frame of a request.');
export type InferenceError = z.infer<typeof InferenceError>;

export const AttestationResponse = z
  .object({
    type: z.literal('attestation_response'),
    nonce: z.string(),
    signature: z.string().describe('ECDSA P-256 over nonce and timestamp, by a software key of this process: it proves nothing about hardware'),
    public_key: z.string().describe('the registered key'),
    rdma_disabled: z.boolean().optional(),
    sip_enabled: z.boolean().optional(),
    secure_boot_enabled: z.boolean().optional(),
    hypervisor_active: z.boolean().optional(),
    model_hashes: z.record(z.string(), z.string()).optional(),
  })
  .describe('Answer to `attestation_challenge`, with true values.');
export type AttestationResponse = z.infer<typeof AttestationResponse>;

export const ProviderMessage = z.discriminatedUnion('type', [
  Register,
  Heartbeat,
  ModelsUpdate,
  LoadModelStatus,
  PrefetchModelStatus,
  InferenceAccepted,
  InferenceResponseChunk,
  InferenceComplete,
  InferenceError,
  AttestationResponse,
]);
export type ProviderMessage = z.infer<typeof ProviderMessage>;
