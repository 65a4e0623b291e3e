/** Limits and periods of the wire (docs/protocol.md). */

const MIB = 1024 * 1024;

/** Largest frame a provider takes: a 16 MiB body is 21.4 MiB in base64, plus the envelope. */
export const MAX_PROVIDER_INBOUND_BYTES = 32 * MIB;
/** Largest frame a coordinator takes. */
export const MAX_COORDINATOR_INBOUND_BYTES = 10 * MIB;
/** Largest plain request body, before sealing. */
export const MAX_REQUEST_BYTES = 16 * MIB;

export const HEARTBEAT_PERIOD_MS = 5_000;
export const PING_PERIOD_MS = 10_000;
/** No pong for so long: the connection is dead. */
export const PONG_TIMEOUT_MS = 30_000;
/** A tick that comes so late means that the machine slept: the socket is dead whatever it says. */
export const SLEEP_GAP_MS = 30_000;

export const RECONNECT_BASE_MS = 1_000;
export const RECONNECT_CAP_MS = 30_000;

export const CHALLENGE_PERIOD_MS = 5 * 60_000;
export const CHALLENGE_TIMEOUT_MS = 30_000;
/** A machine whose last passed challenge is older gets no request. */
export const CHALLENGE_FRESHNESS_MS = 16 * 60_000;
/** A machine silent for so long, seen on two sweeps in a row, is dropped. */
export const STALE_AFTER_MS = 90_000;
export const SWEEP_PERIOD_MS = 30_000;

/** Dispatch to `inference_accepted`, beside 1 ms for each estimated prompt token. */
export const ACCEPT_TIMEOUT_MS = 5_000;
/** Accepted to first content (covers loading a model), and between two chunks. */
export const CONTENT_TIMEOUT_MS = 600_000;
/** From the request to the end of its answer: 32,768 tokens at 5 a second take less. */
export const ANSWER_TIMEOUT_MS = 2 * 60 * 60_000;
/** How long the record of a request outlives its client, for the late terminal. */
export const SETTLE_GRACE_MS = 30_000;
/** Chunks of one request that wait for a slow client. */
export const CHUNK_BUFFER = 4_096;
/** A chunk for an unknown request is answered with `cancel`, at most this often. */
export const STRAY_CANCEL_PERIOD_MS = 10_000;
