import { expect, test } from 'vitest';
import { DarkbloomError, type ErrorCode } from '../../src/errors.js';
import { anthropicMessages } from '../../src/inference/anthropic.js';

test.each<[ErrorCode, string]>([
  ['invalid_request', 'invalid_request_error'],
  ['no_linked_machine', 'invalid_request_error'],
  ['unprocessable', 'invalid_request_error'],
  ['unauthorized', 'authentication_error'],
  ['insufficient_quota', 'billing_error'],
  ['forbidden', 'permission_error'],
  ['model_not_found', 'not_found_error'],
  ['too_large', 'request_too_large'],
  ['over_capacity', 'rate_limit_error'],
  ['machine_offline', 'overloaded_error'],
  ['runner_died', 'overloaded_error'],
  ['internal', 'api_error'],
  ['unsupported', 'api_error'],
  ['timeout', 'api_error'],
])('%s is told as %s, with our reason beside it', (code, type) => {
  const error = new DarkbloomError(code, 'x', { param: 'p' });
  expect(anthropicMessages.errorBody(error, 'r1')).toEqual({
    type: 'error',
    error: { type, message: 'x', code: error.wireCode, param: 'p' },
    request_id: 'r1',
  });
});

test('a conversation that is to be kept is refused in the words with which the SDK goes on without', () => {
  const error = new DarkbloomError('invalid_request', 'x', { param: 'thread' });
  expect(anthropicMessages.errorBody(error, 'r1')).toMatchObject({
    error: { details: { error_code: 'thread_unsupported_request', unsupported: ['thread'] } },
  });
});
