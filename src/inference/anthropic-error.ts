import type { DarkbloomError } from '../errors.js';
import { openAiError } from './openai.js';
import { isJsonObject, type JsonObject } from './types.js';

/** The SDK's tool runner asks for a conversation that is kept first, and sends all of it itself where it reads this. */
const NO_THREADS = { error_code: 'thread_unsupported_request', unsupported: ['thread'] };

/** Right for both readers: Anthropic's envelope, with our precise reason in `code`. */
export function anthropicError(error: DarkbloomError, requestId: string): JsonObject {
  const inner = openAiError(error)['error'];
  return {
    type: 'error',
    error: {
      ...(isJsonObject(inner) ? inner : {}),
      type: anthropicType(error),
      ...(error.param === 'thread' ? { details: NO_THREADS } : {}),
    },
    request_id: requestId,
  };
}

export function anthropicType({ status, retryable }: DarkbloomError): string {
  switch (status) {
    case 400:
    case 409:
    case 422:
      return 'invalid_request_error';
    case 401:
      return 'authentication_error';
    case 402:
      return 'billing_error';
    case 403:
      return 'permission_error';
    case 404:
      return 'not_found_error';
    case 413:
      return 'request_too_large';
    case 429:
      return 'rate_limit_error';
    default:
      return status === 503 && retryable ? 'overloaded_error' : 'api_error';
  }
}
