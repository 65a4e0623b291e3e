import { DarkbloomError } from '../errors.js';
import type { InferenceError } from '../protocol/provider-messages.js';

/** The longest that a machine's own forecast is believed. */
const MAX_RETRY_AFTER_S = 600;

/** Its connection ended before its answer did. */
export class ProviderGone extends DarkbloomError {
  constructor() {
    super('provider_error', 'provider disconnected');
  }
}

/** A machine's error, with the status it gave, as an error of ours. */
export function providerError(message: InferenceError): DarkbloomError {
  const { error, status_code: status, error_reason: reason } = message;
  const after = (fallbackS: number) => ({ retryAfterS: retryAfter(message) ?? fallbackS });
  if (reason === 'request_exceeds_context' || /context (length|window)/iu.test(error)) {
    return new DarkbloomError('context_length_exceeded', error, { param: 'messages' });
  }
  if (reason === 'draining') return new DarkbloomError('draining', error, after(3));
  if (reason === 'model_load') return new DarkbloomError('model_unavailable', error, after(5));
  if (status === 499) return new DarkbloomError('cancelled', error);
  if (status === 429) return new DarkbloomError('over_capacity', error, after(2));
  if (status === 400) return new DarkbloomError('invalid_request', error, paramOf(error));
  if (status === 422) return new DarkbloomError('unprocessable', error, paramOf(error));
  if (status === 404) return new DarkbloomError('model_not_loaded', error, after(15));
  const passed = status >= 400 && status <= 599 ? status : 502;
  return new DarkbloomError('provider_error', error, { status: passed, ...(passed === 503 ? after(2) : {}) });
}

/** The field that a machine's message begins with, as ours do: `'messages.0.content': …`. */
function paramOf(message: string): { param?: string } {
  const param = /^'([a-z_]+)(?:\..*)?': /su.exec(message)?.[1];
  return param === undefined ? {} : { param };
}

/** What the machine said, in whole seconds within reason. */
function retryAfter({ feasible_after_ms: ms }: InferenceError): number | undefined {
  return ms === undefined ? undefined : Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(ms / 1_000)));
}
