import { z } from 'zod';
import { Sealed } from './provider-messages.js';

/** Coordinator → provider. Names are those of the wire; unknown keys are dropped. */

export const InferenceRequest = z
  .object({
    type: z.literal('inference_request'),
    request_id: z.string().min(1).describe('fresh for every attempt'),
    encrypted_body: Sealed.optional().describe("the consumer's JSON, sealed to the provider's key"),
  })
  .describe('A request. A plain `body` beside it is a leftover and is ignored.');
export type InferenceRequest = z.infer<typeof InferenceRequest>;

export const Cancel = z
  .object({ type: z.literal('cancel'), request_id: z.string().min(1) })
  .describe('Stop at once. Unknown ids are ignored.');

export const AttestationChallenge = z
  .object({ type: z.literal('attestation_challenge'), nonce: z.string(), timestamp: z.string() })
  .describe('At once after `register`, then every 5 minutes; 30 s to answer.');
export type AttestationChallenge = z.infer<typeof AttestationChallenge>;

export const RuntimeStatus = z
  .object({
    type: z.literal('runtime_status'),
    verified: z.boolean(),
    mismatches: z
      .array(z.object({ component: z.string(), expected: z.string().optional(), got: z.string().optional() }))
      .optional(),
  })
  .describe("The coordinator's view of the runtime. Shown, changes nothing.");
export type RuntimeStatus = z.infer<typeof RuntimeStatus>;

export const TrustStatus = z
  .object({
    type: z.literal('trust_status'),
    trust_level: z.string(),
    status: z.string(),
    reason: z.string().optional(),
  })
  .describe("The coordinator's trust in this machine. Shown, changes nothing.");
export type TrustStatus = z.infer<typeof TrustStatus>;

export const LoadModel = z
  .object({ type: z.literal('load_model'), model_id: z.string() })
  .describe('Load a model before its first request.');

export const PrefetchModel = z
  .object({ type: z.literal('prefetch_model'), model_id: z.string(), priority: z.number().optional() })
  .describe('Download a model.');

export const DesiredModels = z
  .object({
    type: z.literal('desired_models'),
    models: z.array(
      z.object({ model_name: z.string(), desired_build: z.string(), previous_build: z.string().optional() }),
    ),
  })
  .describe('Builds that aliases should converge to. The owner chooses the models here: read and ignored.');

export const CoordinatorMessage = z.discriminatedUnion('type', [
  InferenceRequest,
  Cancel,
  AttestationChallenge,
  RuntimeStatus,
  TrustStatus,
  LoadModel,
  PrefetchModel,
  DesiredModels,
]);
export type CoordinatorMessage = z.infer<typeof CoordinatorMessage>;
