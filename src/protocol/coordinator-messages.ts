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

const Cancel = z
  .object({ type: z.literal('cancel'), request_id: z.string().min(1).describe('the request to stop') })
  .describe('Stop at once. Unknown ids are ignored.');

export const AttestationChallenge = z
  .object({
    type: z.literal('attestation_challenge'),
    nonce: z.string().describe('base64 of random bytes'),
    timestamp: z.string().describe('RFC 3339; signed together with the nonce'),
  })
  .describe(
    'At once after `register`, then every 5 minutes; 30 s to answer. In a row, three unanswered ones mean that no request ' +
      'comes until one is answered, three wrong answers that none comes on this connection, and six unanswered ones close ' +
      'it with code 1008.',
  );
export type AttestationChallenge = z.infer<typeof AttestationChallenge>;

const RuntimeStatus = z
  .object({
    type: z.literal('runtime_status'),
    verified: z.boolean().describe('false: this coordinator sends no request here'),
    mismatches: z
      .array(
        z.object({
          component: z.string().describe('`backend`, `runtime`'),
          expected: z.string().optional().describe('what the coordinator wants'),
          got: z.string().optional().describe('what was registered'),
        }),
      )
      .optional()
      .describe('absent: none'),
  })
  .describe("The coordinator's view of the runtime. Shown, changes nothing.");

const TrustStatus = z
  .object({
    type: z.literal('trust_status'),
    trust_level: z.string().describe('`none`, `self_signed` or `hardware`'),
    status: z.string().describe('`online`, `offline` or `untrusted`'),
    reason: z.string().optional().describe('why, for people'),
  })
  .describe("The coordinator's trust in this machine. Shown, changes nothing.");

const LoadModel = z
  .object({ type: z.literal('load_model'), model_id: z.string().describe('build id') })
  .describe('Load a model before its first request.');

const PrefetchModel = z
  .object({
    type: z.literal('prefetch_model'),
    model_id: z.string().describe('build id'),
    priority: z.number().optional().describe('higher first; absent: 0'),
  })
  .describe('Download a model.');

const DesiredModels = z
  .object({
    type: z.literal('desired_models'),
    models: z
      .array(
        z.object({
          model_name: z.string().describe('alias'),
          desired_build: z.string().describe('build that should serve it'),
          previous_build: z.string().optional().describe('build that may serve it until then'),
        }),
      )
      .describe('may be empty'),
  })
  .describe(
    'Builds that aliases should converge to. With `models.follow_coordinator`, those of aliases that this machine serves ' +
      'are fetched, from its own catalogue; otherwise ignored.',
  );

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
