import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import type { JsonObject, OperationResult } from './types.js';
import { parseBody } from './validation.js';
import { vectorToBase64 } from './vectors.js';

/** `/v1/embeddings`: OpenAI's shapes. */

/** As many as OpenAI takes. */
const MAX_INPUTS = 2_048;
const MAX_SCOPE_CHARACTERS = 256;
/** Values of all vectors of one answer: sealed they must fit into one frame (docs/protocol.md, limits). */
const MAX_VECTOR_VALUES = 1024 * 1024;

/** Texts, or texts as tokens of the model. */
export type EmbedInput = string | number[];

export interface EmbedRequest {
  /** The build id (over the wire) or the name a local client used. */
  model: string;
  inputs: EmbedInput[];
  /** Values that each vector must have; absent: as many as the model gives. */
  dimensions?: number;
  /** Whether the request comes from this machine's owner; absent: the coordinator did not say. */
  owner?: boolean;
}

const text = z.string().min(1, 'must not be empty');
const token = z.int('must be a whole number').min(0, 'must be 0 or more');
const tokens = z.array(token).min(1, 'must not be empty');
const list = z
  .array(z.union([text, token, tokens], 'must be a text, a token or a list of tokens'))
  .min(1, 'must not be empty')
  .max(MAX_INPUTS, `must be at most ${MAX_INPUTS} long`)
  .refine((items) => new Set(items.map((item) => typeof item)).size === 1, 'must not mix texts and tokens');

const EmbedBody = z.object({
  model: z.string('must be a string').min(1, 'must not be empty'),
  input: z.union([text, list], 'must be a text, a list of texts, or lists of tokens'),
  encoding_format: z.enum(['float', 'base64'], "must be 'float' or 'base64'").nullish(),
  dimensions: z.int('must be a whole number above 0').positive('must be a whole number above 0').nullish(),
  user: z.string().nullish(),
  darkbloom: z
    .object({ owner: z.boolean().optional(), cache_scope: z.string().max(MAX_SCOPE_CHARACTERS).optional() })
    .optional(),
});

/** @throws DarkbloomError `invalid_request` naming the field. */
export function parseEmbed(body: unknown): EmbedRequest {
  const { model, input, dimensions, darkbloom } = parseBody(EmbedBody, body);
  return {
    model,
    inputs: inputsOf(input),
    ...(typeof dimensions === 'number' ? { dimensions } : {}),
    ...(darkbloom?.owner === undefined ? {} : { owner: darkbloom.owner }),
  };
}

/** @throws DarkbloomError `invalid_request` for vectors of another size, or more than one answer holds. */
export function refuseVectors({ inputs, dimensions }: EmbedRequest, values: number, alias: string): void {
  if (dimensions !== undefined && dimensions !== values) {
    const message = `'dimensions': the vectors of ${alias} have ${values} values; they are not cut to ${dimensions}.`;
    throw new DarkbloomError('invalid_request', message, { param: 'dimensions' });
  }
  const most = Math.floor(MAX_VECTOR_VALUES / Math.max(1, values));
  if (inputs.length <= most) return;
  const message = `'input': must be at most ${most} texts for vectors of ${values} values; got a list of ${inputs.length}.`;
  throw new DarkbloomError('invalid_request', message, { param: 'input' });
}

function inputsOf(input: z.infer<typeof EmbedBody>['input']): EmbedInput[] {
  if (typeof input === 'string') return [input];
  const single = input.filter((item) => typeof item === 'number');
  return single.length > 0 ? [single] : input.filter((item) => typeof item !== 'number');
}

/** `body` is the client's own, which chooses how the vectors are written. */
export function embeddingsReply(
  { vectors, promptTokens }: Extract<OperationResult, { op: 'embed' }>,
  model: string,
  body: JsonObject,
): JsonObject {
  const asText = body['encoding_format'] === 'base64';
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: asText ? vectorToBase64(vector) : [...vector],
    })),
    model,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
}
