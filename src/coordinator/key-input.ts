import { z } from 'zod';
import { SPENDING_WINDOWS } from './spending-window.js';

const MAX_KEY_NAME_LENGTH = 100;
const MAX_ALLOWED_MODELS = 256;
/** More than anyone means; stops a mistyped limit. */
const MAX_LIMIT_USD = 1_000_000;
const MAX_RATE = 1_000_000_000;

/** Of requests or tokens in a minute; 0 and `null` say "no limit". */
const rateLimit = z.int().min(0).max(MAX_RATE).nullish();

const FIELDS = {
  name: z.string().trim().max(MAX_KEY_NAME_LENGTH).nullish(),
  limit_usd: z.number().min(0).max(MAX_LIMIT_USD).nullish(),
  limit_reset: z.enum(['none', ...SPENDING_WINDOWS]).nullish(),
  rpm_limit: rateLimit,
  itpm_limit: rateLimit,
  otpm_limit: rateLimit,
  allowed_models: z.array(z.string().trim().min(1)).max(MAX_ALLOWED_MODELS).nullish(),
  expires_at: z.iso.datetime({ offset: true, error: 'must be an RFC 3339 time' }).nullish(),
};

/** The body that makes a key. */
export const NewKey = z.strictObject({ ...FIELDS, self_route_only: z.boolean().nullish() });

/** The body that changes one: what is left out stays, `null` clears. */
export const KeyChanges = z.strictObject({
  ...FIELDS,
  self_route_only: z.boolean().optional(),
  disabled: z.boolean().optional(),
});
export type KeyChanges = z.infer<typeof KeyChanges>;
