import { describe, expect, test } from 'vitest';
import { DarkbloomError, systemErrorCode, toFailure, type ErrorCode } from '../src/errors.js';

/** Every code, its HTTP status and the exit code of the command. A new code does not compile without a line here. */
const EXPECTED: Record<ErrorCode, readonly [status: number, exitCode: number]> = {
  invalid_request: [400, 64],
  bad_request: [400, 64],
  bad_device_request: [400, 64],
  unprocessable: [422, 64],
  unsupported: [501, 64],
  context_length_exceeded: [400, 64],
  unauthorized: [401, 64],
  insufficient_quota: [402, 64],
  key_limit_reached: [402, 64],
  forbidden: [403, 64],
  access_denied: [403, 64],
  model_not_allowed: [403, 64],
  model_not_found: [404, 64],
  not_found: [404, 64],
  machine_not_found: [404, 64],
  invalid_grant: [404, 64],
  invalid_code: [404, 64],
  no_route: [404, 64],
  no_linked_machine: [409, 64],
  already_used: [409, 64],
  conflict: [409, 64],
  expired_token: [410, 64],
  expired_code: [410, 64],
  too_large: [413, 64],
  usage: [400, 64],
  over_capacity: [429, 75],
  slow_down: [429, 75],
  machine_busy: [429, 75],
  insufficient_memory: [503, 75],
  paused: [503, 75],
  draining: [503, 75],
  machine_offline: [503, 75],
  model_not_loaded: [503, 75],
  model_unavailable: [503, 75],
  encryption_unavailable: [503, 75],
  identity_unavailable: [503, 75],
  cancelled: [499, 130],
  link_lost: [502, 76],
  link_refused: [502, 76],
  provider_error: [502, 76],
  timeout: [504, 76],
  download_failed: [502, 76],
  bad_frame: [400, 76],
  sealed_unreadable: [400, 76],
  config_invalid: [500, 65],
  not_logged_in: [500, 65],
  model_corrupt: [500, 65],
  disk_full: [500, 65],
  not_supported: [500, 65],
  port_in_use: [500, 65],
  already_running: [500, 65],
  runner_died: [503, 70],
  internal: [500, 70],
};

const codes = Object.keys(EXPECTED) as ErrorCode[];

describe('the table of errors', () => {
  test.each(codes)('%s has a status and an exit code', (code) => {
    const { status, exitCode } = new DarkbloomError(code, 'x');
    expect([status, exitCode]).toEqual(EXPECTED[code]);
  });

  test('asks to try again for what passes by itself and for nothing else', () => {
    const retryable = codes.filter((code) => new DarkbloomError(code, 'x').retryable);
    expect(retryable).toEqual([...codes.filter((code) => EXPECTED[code][1] === 75), 'runner_died']);
  });

  test.each([
    ['invalid_request', 'invalid_request_error', 'invalid_request_error'],
    ['context_length_exceeded', 'invalid_request_error', 'context_length_exceeded'],
    ['unauthorized', 'authentication_error', 'authentication_error'],
    ['over_capacity', 'rate_limit_exceeded', 'rate_limit_exceeded'],
    ['insufficient_quota', 'insufficient_funds', 'insufficient_quota'],
    ['key_limit_reached', 'insufficient_quota', 'insufficient_quota'],
    ['machine_offline', 'machine_offline', 'machine_offline'],
    ['runner_died', 'provider_error', 'runner_died'],
    ['internal', 'internal_error', 'internal_error'],
  ] as const)('%s is the type %s and the code %s of the consumer API', (code, type, wireCode) => {
    const error = new DarkbloomError(code, 'x');
    expect([error.type, error.wireCode]).toEqual([type, wireCode]);
  });

  test('passes on the status that a peer answered', () => {
    expect(new DarkbloomError('provider_error', 'x', { status: 507 }).status).toBe(507);
  });
});

describe('any thrown thing becomes a failure', () => {
  test('an error of ours stays what it is', () => {
    const error = new DarkbloomError('paused', 'paused');
    expect(toFailure(error)).toBe(error);
  });

  test('an abort is a cancellation', () => {
    expect(toFailure(AbortSignal.abort().reason).code).toBe('cancelled');
  });

  test.each([[new TypeError('secret: hunter2')], ['hunter2'], [undefined]])(
    'what is not ours is internal, keeps its cause and does not repeat its text: %s',
    (thrown) => {
      const failure = toFailure(thrown);
      expect(failure.code).toBe('internal');
      expect(failure.message).not.toContain('hunter2');
      expect(failure.cause).toBe(thrown);
    },
  );
});

test.each([
  [Object.assign(new Error('x'), { code: 'ENOENT' }), 'ENOENT'],
  [Object.assign(new Error('x'), { code: 5 }), undefined],
  [new Error('x'), undefined],
  [{ code: 'ENOENT' }, undefined],
])('the code of a system error is read from errors alone: %s', (thrown, code) => {
  expect(systemErrorCode(thrown)).toBe(code);
});
