import { Channel } from '../crypto/box.js';
import type { Identity } from '../crypto/identity.js';
import { DarkbloomError, toFailure, type ErrorCode } from '../errors.js';
import { answer } from '../inference/answer.js';
import { OpenAiChatReply } from '../inference/openai-chat-reply.js';
import { writeResult, type Engine } from '../inference/operations.js';
import { isContent, isJsonObject, type JsonObject, type Usage } from '../inference/types.js';
import type { Log } from '../log.js';
import type { InferenceRequest } from '../protocol/coordinator-messages.js';
import type { HeartbeatStats, InferenceError, WireUsage } from '../protocol/provider-messages.js';
import type { Clock } from '../util/clock.js';
import type { Connection } from './link.js';

interface JobsOptions {
  generator: Engine;
  identity: Identity;
  /** Throws what refuses a new request now (`paused`, `draining`). */
  refuse: () => void;
  clock: Clock;
  log: Log;
}

/** The remote requests of this provider: each from its sealed body to its single last frame. */
export class Jobs {
  readonly #options: JobsOptions;
  readonly #running = new Map<string, { abort: AbortController; ended: Promise<void> }>();
  readonly #stats = {
    requests_served: 0,
    tokens_generated: 0,
    cancellations_received: 0,
    cancellations_before_output: 0,
    cancellations_partial_complete: 0,
    generation_errors_after_output: 0,
  } satisfies HeartbeatStats;

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /** Counters since the process began, for the heartbeat. */
  get stats(): HeartbeatStats {
    return { ...this.#stats };
  }

  get running(): number {
    return this.#running.size;
  }

  /** Starts a job. A second frame with the id of a running one is ignored. */
  start(request: InferenceRequest, connection: Connection): void {
    if (this.#running.has(request.request_id)) return;
    const abort = new AbortController();
    const ended = this.#run(request, connection, abort.signal).finally(() => this.#running.delete(request.request_id));
    this.#running.set(request.request_id, { abort, ended });
  }

  cancel(requestId: string): void {
    const job = this.#running.get(requestId);
    if (job === undefined) return;
    this.#stats.cancellations_received++;
    job.abort.abort();
  }

  /** The connection they came over is gone: nobody reads the answers. */
  abortAll(): void {
    for (const { abort } of this.#running.values()) abort.abort();
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  async #run(request: InferenceRequest, connection: Connection, signal: AbortSignal): Promise<void> {
    const { request_id } = request;
    let wrote = false;
    try {
      this.#options.refuse();
      const { channel, body } = this.#open(request);
      const reply = new OpenAiChatReply({
        requestId: request_id,
        created: Math.floor(this.#options.clock.now() / 1_000),
        model: typeof body['model'] === 'string' ? body['model'] : '',
        includeUsage: true, // the coordinator shows it or drops it
        maxTokens: undefined,
        forWire: true,
      });
      for await (const event of answer(body, this.#options.generator, signal)) {
        if (event.type === 'accepted') await connection.send({ type: 'inference_accepted', request_id });
        const result = event.type === 'done' ? event.result : undefined;
        for (const chunk of result === undefined ? reply.events(event) : [writeResult(result)]) {
          await connection.send({ type: 'inference_response_chunk', request_id, encrypted_data: channel.seal(chunk) });
        }
        if (isContent(event)) wrote = true;
        if (event.type === 'done') {
          const { usage, stopSequence } = event;
          this.#served(usage);
          await connection.send({
            type: 'inference_complete',
            request_id,
            usage: wireUsage(usage),
            ...(stopSequence === null ? {} : { stop_sequence: stopSequence }),
          });
        }
        if (event.type === 'cancelled') await this.#cancelled(request_id, event.usage, wrote, connection);
      }
    } catch (error) {
      const failure = toFailure(error);
      if (wrote) this.#stats.generation_errors_after_output++;
      this.#options.log.warn({ request_id, code: failure.code, err: failure.cause }, 'request failed');
      await connection.send(errorFrame(request_id, failure));
    }
  }

  /** The tokens that were written are told; a request that wrote none ends with an error. */
  async #cancelled(request_id: string, usage: Usage, wrote: boolean, connection: Connection): Promise<void> {
    if (!wrote) {
      this.#stats.cancellations_before_output++;
      await connection.send(errorFrame(request_id, new DarkbloomError('cancelled', 'request cancelled')));
      return;
    }
    this.#stats.cancellations_partial_complete++;
    this.#served(usage);
    await connection.send({ type: 'inference_complete', request_id, usage: wireUsage(usage) });
  }

  #served(usage: Usage): void {
    this.#stats.requests_served++;
    this.#stats.tokens_generated += usage.completionTokens;
  }

  /** @throws DarkbloomError `sealed_unreadable`, in the words of the wire. */
  #open({ encrypted_body }: InferenceRequest): { channel: Channel; body: JsonObject } {
    if (encrypted_body === undefined) {
      throw new DarkbloomError('sealed_unreadable', 'coordinator text request missing encrypted body');
    }
    const channel = Channel.with(this.#options.identity.box, encrypted_body.ephemeral_public_key);
    if (channel === undefined)
      throw new DarkbloomError('sealed_unreadable', 'missing or malformed ephemeral_public_key');
    const text = channel.open(encrypted_body.ciphertext);
    try {
      const body: unknown = JSON.parse(text);
      if (isJsonObject(body)) return { channel, body };
    } catch {
      // The parser's message quotes the text: it must not go anywhere.
    }
    throw new DarkbloomError('sealed_unreadable', 'invalid request body');
  }
}

function wireUsage({ promptTokens, completionTokens, reasoningTokens = 0 }: Usage): WireUsage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    ...(reasoningTokens === 0 ? {} : { reasoning_tokens: reasoningTokens }),
  };
}

const REASONS: Partial<Record<ErrorCode, string>> = {
  context_length_exceeded: 'request_exceeds_context',
  model_corrupt: 'model_load',
  insufficient_memory: 'model_load',
  paused: 'draining',
  draining: 'draining',
  cancelled: 'cancelled',
  over_capacity: 'queue_full',
};

function errorFrame(request_id: string, { code, message, status, retryAfterS }: DarkbloomError): InferenceError {
  const reason = REASONS[code];
  return {
    type: 'inference_error',
    request_id,
    error: message,
    status_code: code === 'model_corrupt' ? 503 : status, // a load that failed is a matter of lifecycle on the wire
    ...(reason === undefined ? {} : { error_reason: reason }),
    ...(retryAfterS === undefined ? {} : { feasible_after_ms: retryAfterS * 1_000 }),
  };
}
