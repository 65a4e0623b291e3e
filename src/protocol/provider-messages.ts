import { z } from 'zod';

/** Provider → coordinator. Names are those of the wire; unknown keys are dropped. */

const RequestId = z.string().min(1).describe('as in `inference_request`');
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
  cpu_cores: z
    .object({
      total: z.number().int().describe('all cores'),
      performance: z.number().int().describe('performance cores'),
      efficiency: z.number().int().describe('efficiency cores'),
    })
    .describe('cores of the CPU'),
  gpu_cores: z.number().int().describe('cores of the GPU; 0: not known'),
  memory_bandwidth_gbs: z.number().describe('GB/s of the chip; 0: not known'),
});
export type Hardware = z.infer<typeof Hardware>;

export const ModelInfo = z.object({
  id: z.string().min(1).describe('build id, never the alias'),
  size_bytes: z.number().int().nonnegative().describe('size of the weights on disk'),
  model_type: z.string().describe('`text`; `embedding`: makes vectors and writes no answers'),
  quantization: z.string().describe('`Q4_K_M`, `F16`'),
  weight_hash: z.string().optional().describe("the manifest's aggregate, 64 hex; absent: not computed"),
  is_vision: z.boolean().optional().describe('true: takes images'),
  template_render_ok: z.boolean().optional().describe('absent: not tested; false: no request comes for this model'),
});
export type ModelInfo = z.infer<typeof ModelInfo>;

export const PrivacyCapabilities = z.object({
  text_backend_inprocess: z
    .boolean()
    .describe('decryption and inference happen in one process; false here: each model runs in a child process'),
  text_proxy_disabled: z.boolean().describe('no HTTP hop lies between decryption and the engine'),
  python_runtime_locked: z.boolean().describe('no Python that can be changed takes part; true here: there is none'),
  dangerous_modules_blocked: z
    .boolean()
    .describe('no Python that can load any module takes part; true here: there is none'),
  sip_enabled: z.boolean().describe('System Integrity Protection is on'),
  anti_debug_enabled: z.boolean().describe('the process refuses a debugger; false here'),
  core_dumps_disabled: z.boolean().describe('the limit for core files is 0'),
  env_scrubbed: z.boolean().describe('no variable loads foreign code or makes the process write out its memory'),
  hypervisor_active: z
    .boolean()
    .optional()
    .describe('the system says that it runs in a virtual machine; absent: not known'),
});
export type PrivacyCapabilities = z.infer<typeof PrivacyCapabilities>;

export const Register = z
  .object({
    type: z.literal('register'),
    hardware: Hardware.describe('what this machine is'),
    models: z.array(ModelInfo).describe('the builds it can load; may be empty'),
    backend: z.string().describe('`llama.cpp`: what really runs the models'),
    version: z.string().optional().describe('version of the provider program'),
    public_key: z.string().optional().describe('base64 of the 32-byte X25519 key requests are sealed to'),
    encrypted_response_chunks: z.boolean().optional().describe('true: every chunk of an answer is sealed'),
    attestation: z.unknown().optional().describe('never sent by this provider: it has no Secure Enclave key'),
    prefill_tps: z.number().optional().describe('measured speed of reading a prompt, tokens per second'),
    decode_tps: z.number().optional().describe('measured speed of writing an answer, tokens per second'),
    auth_token: z.string().optional().describe('links the machine to an account'),
    private_only: z.boolean().optional().describe("true: only the owner's own requests come here"),
    privacy_capabilities: PrivacyCapabilities.optional().describe('what is really in force in this process'),
  })
  .describe('First frame of a connection, exactly once. There is no acknowledgement.');
export type Register = z.infer<typeof Register>;

export const SlotCapacity = z.object({
  model: z.string().describe('build id'),
  state: z.string().describe('`running`, `idle`, `idle_shutdown`, `reloading` or `crashed`'),
  num_running: z.number().int().nonnegative().describe('requests being answered'),
  num_waiting: z.number().int().nonnegative().describe('requests that wait for a sequence'),
  active_tokens: z.number().nonnegative().describe('tokens in context over running requests'),
  max_tokens_potential: z.number().nonnegative().describe('prompt and output bound over running requests'),
  max_concurrency: z.number().int().optional().describe('requests answered at once'),
  observed_decode_tps: z.number().optional().describe('moving average of writing, tokens per second'),
  observed_prefill_tps: z.number().optional().describe('moving average of reading, tokens per second'),
  active_token_budget_used: z.number().optional().describe('tokens reserved'),
  active_token_budget_max: z.number().optional().describe('context tokens over all sequences'),
  queued_token_budget: z.number().optional().describe('tokens that waiting requests will reserve'),
  kv_bytes_per_token: z.number().optional().describe('bytes of cache for each token'),
  model_load_time_ms: z.number().optional().describe('how long the last load took'),
});
export type SlotCapacity = z.infer<typeof SlotCapacity>;

export const BackendCapacity = z.object({
  slots: z.array(SlotCapacity).describe('one for each model that is loaded, loading or failed'),
  gpu_memory_active_gb: z.number().describe('GiB in use'),
  gpu_memory_peak_gb: z.number().describe('GiB in use at most'),
  gpu_memory_cache_gb: z.number().describe('GiB kept for reuse'),
  total_memory_gb: z.number().describe('GiB the engine may use at most'),
  free_for_load_gb: z.number().optional().describe('GiB really free for another model'),
});
export type BackendCapacity = z.infer<typeof BackendCapacity>;

export type ThermalState = 'nominal' | 'fair' | 'serious' | 'critical';

export const SystemMetrics = z.object({
  memory_pressure: z.number().describe('0 to 1'),
  cpu_usage: z.number().describe('0 to 1'),
  thermal_state: z.string().describe('`nominal`, `fair`, `serious` or `critical`; a critical machine gets no request'),
});
export type SystemMetrics = z.infer<typeof SystemMetrics>;

export const HeartbeatStats = z.object({
  requests_served: z.number().int().describe('requests that ended with `inference_complete`'),
  tokens_generated: z.number().int().describe('output tokens of those'),
  cancellations_received: z.number().int().optional().describe('`cancel` frames for running requests'),
  cancellations_before_output: z.number().int().optional().describe('requests cancelled before any text'),
  cancellations_partial_complete: z.number().int().optional().describe('requests cancelled after some text'),
  generation_errors_after_output: z.number().int().optional().describe('requests that failed after some text'),
});
export type HeartbeatStats = z.infer<typeof HeartbeatStats>;

export const Heartbeat = z
  .object({
    type: z.literal('heartbeat'),
    status: z.string().describe('`idle` or `serving`; `draining` while paused or draining'),
    active_model: z.string().nullish().describe('build that is answering, or answered last; absent or null: none'),
    stats: HeartbeatStats.describe('counters since the process began'),
    warm_models: z.array(z.string()).optional().describe('builds in memory; replaces the list before'),
    system_metrics: SystemMetrics.optional().describe('load of the machine'),
    backend_capacity: BackendCapacity.optional().describe('room for requests and models'),
  })
  .describe('At once after `register`, then every 5 s.');
export type Heartbeat = z.infer<typeof Heartbeat>;

const ModelsUpdate = z
  .object({ type: z.literal('models_update'), models: z.array(ModelInfo).describe('the new builds') })
  .describe('Builds that became available after registering; merged by id.');

const LoadModelStatus = z
  .object({
    type: z.literal('load_model_status'),
    model_id: z.string().describe('build id'),
    status: z
      .enum(['started', 'succeeded', 'failed'])
      .describe('`started`, then one of the others; or `failed` at once'),
    error: z.string().optional().describe('why it failed'),
  })
  .describe('Answer to `load_model`.');

const PrefetchModelStatus = z
  .object({
    type: z.literal('prefetch_model_status'),
    model_id: z.string().describe('build id'),
    status: z
      .enum(['started', 'downloading', 'verified', 'failed'])
      .describe('`failed` at once where the owner alone chooses the models (`models.follow_coordinator`)'),
    bytes_done: z.number().optional().describe('bytes downloaded'),
    bytes_total: z.number().optional().describe('bytes to download'),
    error: z.string().optional().describe('why it failed'),
  })
  .describe('Answer to `prefetch_model`.');

const InferenceAccepted = z
  .object({ type: z.literal('inference_accepted'), request_id: RequestId })
  .describe('The request was opened, parsed and admitted; sent before any model load.');

export const InferenceResponseChunk = z
  .object({
    type: z.literal('inference_response_chunk'),
    request_id: RequestId,
    encrypted_data: Sealed.optional().describe(
      'sealed to the request; its key is the registered `public_key`. Plaintext: one SSE event, `data: ` and JSON',
    ),
    data: z.string().optional().describe('plaintext; always absent'),
  })
  .describe('One piece of the answer.');
export type InferenceResponseChunk = z.infer<typeof InferenceResponseChunk>;

export const WireUsage = z.object({
  prompt_tokens: z.number().int().nonnegative().describe('tokens of the rendered prompt'),
  completion_tokens: z.number().int().nonnegative().describe('tokens written'),
  reasoning_tokens: z.number().int().nonnegative().optional().describe('of those, tokens of reasoning'),
});
export type WireUsage = z.infer<typeof WireUsage>;

export const InferenceComplete = z
  .object({
    type: z.literal('inference_complete'),
    request_id: RequestId,
    usage: WireUsage.describe('true counts, also of an answer that was cut short'),
    response_hash: z.string().optional().describe('never sent by this provider'),
    se_signature: z.string().optional().describe('never sent by this provider'),
    stop_sequence: z.string().optional().describe('the stop string that ended the answer; absent: none'),
  })
  .describe('The good last frame of a request.');
export type InferenceComplete = z.infer<typeof InferenceComplete>;

export const InferenceError = z
  .object({
    type: z.literal('inference_error'),
    request_id: RequestId,
    error: z.string().describe('never contains prompt or answer text'),
    status_code: z.number().int().describe('HTTP status that says the same'),
    error_reason: z
      .string()
      .optional()
      .describe('for programs: `model_load`, `queue_full`, `draining`, `cancelled`, `request_exceeds_context`'),
    feasible_after_ms: z
      .number()
      .nonnegative()
      .optional()
      .describe('when the same request will probably be taken, from the speed of the requests that run'),
  })
  .describe('The bad last frame of a request.');
export type InferenceError = z.infer<typeof InferenceError>;

export const AttestationResponse = z
  .object({
    type: z.literal('attestation_response'),
    nonce: z.string().describe('that of the challenge'),
    signature: z
      .string()
      .describe(
        'ECDSA P-256 over nonce and timestamp, by a software key of this process: it proves nothing about hardware',
      ),
    public_key: z.string().describe('the registered key'),
    rdma_disabled: z.boolean().optional().describe('no RDMA over Thunderbolt'),
    sip_enabled: z.boolean().optional().describe('System Integrity Protection is on'),
    secure_boot_enabled: z.boolean().optional().describe('the system volume is sealed; absent: not known'),
    hypervisor_active: z.boolean().optional().describe('the system runs in a virtual machine; absent: not known'),
    model_hashes: z.record(z.string(), z.string()).optional().describe('build id → `weight_hash`'),
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
