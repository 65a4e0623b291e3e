import { z } from 'zod';
import { COMMON_FIELDS, effort, refused, tokens, wholeNumberFrom } from './openai-fields.js';
import type { JsonObject } from './types.js';
import { parseBody } from './validation.js';

/** The body of `/v1/completions`, OpenAI's older API. */

const MAX_LOGPROBS = 5;
const PROMPT_RULE = 'must be a string, or a list of one string';

const prompt = z.string('must be a string: tokens are not supported');

const CompletionBody = z.object({
  ...COMMON_FIELDS,
  prompt: z.union([prompt, z.array(prompt).length(1, PROMPT_RULE)], PROMPT_RULE),
  max_tokens: tokens,
  max_completion_tokens: tokens,
  n: z.literal([0, 1], 'only one answer for each request is supported').nullish(),
  logprobs: wholeNumberFrom(0, MAX_LOGPROBS).nullish(),
  reasoning_effort: effort,
  best_of: z.literal([0, 1], 'only one answer for each request is supported').nullish(),
  echo: z.literal(false, 'must be false: the prompt is not repeated').nullish(),
  suffix: refused('texts are not filled in'),
});

/** The fields that are looked at. */
export const COMPLETION_FIELDS = Object.keys(CompletionBody.shape);

/** @throws DarkbloomError `invalid_request` naming the field. */
export function lowerCompletion(body: JsonObject): JsonObject {
  const { prompt: asked, logprobs, best_of: _, echo: __, suffix: ___, ...rest } = parseBody(CompletionBody, body);
  const content = Array.isArray(asked) ? asked[0] : asked;
  return {
    ...rest,
    messages: [{ role: 'user', content }],
    ...(typeof logprobs === 'number' ? { logprobs: true, top_logprobs: logprobs } : {}),
  };
}
