/** Who must act decides everything else: the HTTP status, whether to try again, the exit code of the command. */
type Family = 'caller' | 'later' | 'left' | 'peer' | 'operator' | 'us';

/** `type` is the word the consumer API uses where it differs from the code; `speaks` shows the code beside it. */
interface Row {
  family: Family;
  status: number;
  type?: string;
  speaks?: true;
}

/** The one table of errors. */
const TABLE = {
  invalid_request: { family: 'caller', status: 400, type: 'invalid_request_error' },
  bad_request: { family: 'caller', status: 400 },
  bad_device_request: { family: 'caller', status: 400, type: 'invalid_request' },
  unprocessable: { family: 'caller', status: 422, type: 'invalid_request_error' },
  unsupported: { family: 'caller', status: 501 },
  context_length_exceeded: { family: 'caller', status: 400, type: 'invalid_request_error', speaks: true },
  unauthorized: { family: 'caller', status: 401, type: 'authentication_error' },
  insufficient_quota: { family: 'caller', status: 402, type: 'insufficient_funds', speaks: true },
  key_limit_reached: { family: 'caller', status: 402, type: 'insufficient_quota' },
  forbidden: { family: 'caller', status: 403 },
  access_denied: { family: 'caller', status: 403 },
  model_not_allowed: { family: 'caller', status: 403 },
  model_not_found: { family: 'caller', status: 404 },
  not_found: { family: 'caller', status: 404 },
  machine_not_found: { family: 'caller', status: 404 },
  invalid_grant: { family: 'caller', status: 404 },
  invalid_code: { family: 'caller', status: 404 },
  no_route: { family: 'caller', status: 404, type: 'invalid_request_error' },
  no_linked_machine: { family: 'caller', status: 409 },
  already_used: { family: 'caller', status: 409 },
  conflict: { family: 'caller', status: 409 },
  expired_token: { family: 'caller', status: 410 },
  expired_code: { family: 'caller', status: 410 },
  too_large: { family: 'caller', status: 413, type: 'invalid_request_error' },
  usage: { family: 'caller', status: 400 },

  over_capacity: { family: 'later', status: 429, type: 'rate_limit_exceeded' },
  slow_down: { family: 'later', status: 429, type: 'rate_limit_exceeded', speaks: true },
  machine_busy: { family: 'later', status: 429 },
  insufficient_memory: { family: 'later', status: 503 },
  paused: { family: 'later', status: 503 },
  draining: { family: 'later', status: 503 },
  machine_offline: { family: 'later', status: 503 },
  model_not_loaded: { family: 'later', status: 503 },
  model_unavailable: { family: 'later', status: 503 },
  encryption_unavailable: { family: 'later', status: 503 },
  identity_unavailable: { family: 'later', status: 503, type: 'service_unavailable', speaks: true },

  cancelled: { family: 'left', status: 499 },

  link_lost: { family: 'peer', status: 502, type: 'provider_error', speaks: true },
  link_refused: { family: 'peer', status: 502, type: 'provider_error', speaks: true },
  provider_error: { family: 'peer', status: 502 },
  timeout: { family: 'peer', status: 504 },
  download_failed: { family: 'peer', status: 502 },
  bad_frame: { family: 'peer', status: 400 },
  sealed_unreadable: { family: 'peer', status: 400 },

  config_invalid: { family: 'operator', status: 500 },
  not_logged_in: { family: 'operator', status: 500 },
  model_corrupt: { family: 'operator', status: 500 },
  disk_full: { family: 'operator', status: 500 },
  not_supported: { family: 'operator', status: 500 },
  port_in_use: { family: 'operator', status: 500 },
  already_running: { family: 'operator', status: 500 },

  runner_died: { family: 'us', status: 503, type: 'provider_error', speaks: true },
  internal: { family: 'us', status: 500, type: 'internal_error' },
} as const satisfies Record<string, Row>;

export type ErrorCode = keyof typeof TABLE;

export const ERROR_CODES = Object.keys(TABLE) as ErrorCode[];

/** Exit codes of the command, after sysexits(3). */
const EXIT: Record<Family, number> = { caller: 64, later: 75, left: 130, peer: 76, operator: 65, us: 70 };

interface Details extends ErrorOptions {
  /** The field of the request that is wrong. */
  param?: string;
  /** When it may work again, in seconds. */
  retryAfterS?: number;
  /** A status that a peer answered and that is passed on in place of the table's. */
  status?: number;
}

/** The one error class. Rooms throw it; doors translate it (HTTP body, frame, exit code). */
export class DarkbloomError extends Error {
  override readonly name = 'DarkbloomError';
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly retryAfterS: number | undefined;
  readonly status: number;

  constructor(code: ErrorCode, message: string, details: Details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.param = details.param;
    this.retryAfterS = details.retryAfterS;
    this.status = details.status ?? TABLE[code].status;
  }

  /** The word for `error.type` of the consumer API. */
  get type(): string {
    const row: Row = TABLE[this.code];
    return row.type ?? this.code;
  }

  /** The word for `error.code` of the consumer API: `type` again unless it says more. */
  get wireCode(): string {
    const row: Row = TABLE[this.code];
    return row.speaks === true ? this.code : this.type;
  }

  /** True when the same request may work later, unchanged. */
  get retryable(): boolean {
    return TABLE[this.code].family === 'later' || this.code === 'runner_died';
  }

  get exitCode(): number {
    return EXIT[TABLE[this.code].family];
  }
}

/** Any thrown thing as our error. What is not ours becomes `internal`: it says little, and its cause goes to the log. */
export function toFailure(error: unknown): DarkbloomError {
  if (error instanceof DarkbloomError) return error;
  if (error instanceof Error && error.name === 'AbortError') {
    return new DarkbloomError('cancelled', 'request cancelled', { cause: error });
  }
  return new DarkbloomError('internal', 'internal error; the log of the machine that ran into it has the cause', {
    cause: error,
  });
}

/** The error of an operating-system call by its code (`ENOENT`, `EADDRINUSE`), `undefined` for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}
