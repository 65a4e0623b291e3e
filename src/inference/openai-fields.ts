import { z } from 'zod';

/** Fields that several of OpenAI's bodies have in common. */

const MAX_STOPS = 4;
const MAX_STOP_CHARACTERS = 256;
const MAX_LOGIT_BIASES = 1_024;
const MAX_CACHE_KEY_CHARACTERS = 512;
const MAX_TEMPLATE_ARGUMENTS = 16;
const MAX_TEMPLATE_TEXT_CHARACTERS = 256;
const OWN_TEMPLATE_NAMES = new Set(['messages', 'tools', 'add_generation_prompt', 'bos_token', 'eos_token']);
export const MAX_TOP_LOGPROBS = 20;

const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'] as const;

function numberFrom(min: number, max: number) {
  const range = `must be a number from ${min} to ${max}`;
  return z.number(range).min(min, range).max(max, range);
}

export function wholeNumberFrom(min: number, max: number) {
  const range = `must be a whole number from ${min} to ${max}`;
  return z.int(range).min(min, range).max(max, range);
}

/** A field of the API that cannot be served: it may be null or left out, nothing else. */
export function refused(why: string) {
  return z.null(`must be left out: ${why}`).optional();
}

export const tokens = z.int('must be a whole number above 0').positive('must be a whole number above 0').nullish();
export const effort = z.enum(EFFORTS, `must be one of ${EFFORTS.join(', ')}`).nullish();
export const flag = z.boolean('must be true or false').nullish();
const hint = z.string('must be a string').nullish();
const stop = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(MAX_STOP_CHARACTERS, `must be at most ${MAX_STOP_CHARACTERS} characters`);
export const stops = z.array(stop).max(MAX_STOPS, `must be at most ${MAX_STOPS} strings`);

/** How the answer is chosen and where it ends. */
export const SAMPLING_FIELDS = {
  temperature: numberFrom(0, 2).nullish(),
  top_p: numberFrom(0, 1).nullish(),
  top_k: z.int('must be a whole number').min(0, 'must be 0 or more').nullish(),
  min_p: numberFrom(0, 1).nullish(),
  presence_penalty: numberFrom(-2, 2).nullish(),
  frequency_penalty: numberFrom(-2, 2).nullish(),
  repetition_penalty: numberFrom(0.01, 10).nullish(),
  seed: wholeNumberFrom(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d+$/u), numberFrom(-100, 100), 'must be an object of token ids')
    .refine((biases) => Object.keys(biases).length <= MAX_LOGIT_BIASES, `must be at most ${MAX_LOGIT_BIASES} token ids`)
    .nullish(),
  stop: z.union([stop, stops], 'must be a string or a list of strings').nullish(),
};

/** How the answer is sent. */
const STREAM_FIELDS = {
  stream: flag,
  stream_options: z
    .object({
      include_usage: flag,
      include_obfuscation: z.literal(false, 'must be false: nothing is added to hide lengths').nullish(),
    })
    .nullish(),
};

/** What says who asks, or what other servers keep by it. They change nothing of an answer here. */
const HINT_FIELDS = {
  user: hint,
  safety_identifier: hint,
  metadata: z.record(z.string(), z.unknown(), 'must be an object').nullish(),
  prompt_cache_key: z
    .string('must be a string')
    .max(MAX_CACHE_KEY_CHARACTERS, `must be at most ${MAX_CACHE_KEY_CHARACTERS} characters`)
    .nullish(),
  prompt_cache_retention: hint,
  service_tier: z.enum(['auto', 'default'], "must be 'auto' or 'default'").nullish(),
};

/** Texts that cannot spell a control token, since they stand in the template's own text. */
const templateText = z
  .string()
  .max(MAX_TEMPLATE_TEXT_CHARACTERS, `must be at most ${MAX_TEMPLATE_TEXT_CHARACTERS} characters`)
  .regex(/^[\p{L}\p{N} _.,:/-]*$/u, 'must be letters, digits, spaces and _ . , : / -');
const TemplateArguments = z
  .record(
    z.string().regex(/^[a-z]\w*$/iu),
    z.union([z.boolean(), z.number(), z.null(), templateText], 'must be a boolean, a number, null or a short text'),
    'must be an object of the names that the template knows',
  )
  .superRefine((given, context) => {
    const names = Object.keys(given);
    if (names.length > MAX_TEMPLATE_ARGUMENTS) context.addIssue(`must be at most ${MAX_TEMPLATE_ARGUMENTS} names`);
    const taken = names.find((name) => OWN_TEMPLATE_NAMES.has(name));
    if (taken !== undefined) {
      context.addIssue({ code: 'custom', path: [taken], message: 'must be left out: the request itself sets it' });
    }
  })
  .nullish();

/** What every body that is answered may have. */
export const COMMON_FIELDS = {
  model: z.string('must be a string').min(1, 'must not be empty'),
  ...SAMPLING_FIELDS,
  chat_template_kwargs: TemplateArguments,
  ...STREAM_FIELDS,
  ...HINT_FIELDS,
};
