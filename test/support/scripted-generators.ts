import { once } from 'node:events';
import type { Engine, Operation, OperationEvent } from '../../src/inference/operations.js';
import type {
  ChatEvent,
  ChatRequest,
  ContentEvent,
  FinishReason,
  OperationResult,
  Usage,
} from '../../src/inference/types.js';

const PROMPT_TOKENS = 11;

interface Script {
  /** The pieces of the answer, a token each. */
  says?: readonly string[];
  /** Then it breaks with this, in place of an end. */
  breaksWith?: Error;
  /** Or it waits for the request to be cancelled. */
  hangs?: boolean;
  stopSequence?: string;
  /** In place of `says`: what happens between the beginning and the end. */
  events?: readonly ContentEvent[];
  finishReason?: FinishReason;
  /** What operations come to; without it they break with `breaksWith`. */
  result?: OperationResult;
}

/** A generator whose answers a test writes. */
export class ScriptedGenerator implements Engine {
  readonly requests: ChatRequest[] = [];
  readonly operations: Operation[] = [];
  /** Resolves when a request that hung was cancelled. */
  readonly cancelled: Promise<void>;
  readonly #script: Script;
  #onCancelled: () => void = () => undefined;

  constructor(script: Script = {}) {
    this.#script = script;
    this.cancelled = new Promise((resolve) => (this.#onCancelled = resolve));
  }

  async *generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const { says = [], breaksWith, hangs = false, stopSequence = null, finishReason = 'stop' } = this.#script;
    const { events = says.map((text) => ({ type: 'text' as const, text })) } = this.#script;
    this.requests.push(request);
    const reasoningTokens = events.filter(({ type }) => type === 'reasoning').length;
    const usage: Usage = {
      promptTokens: PROMPT_TOKENS,
      completionTokens: events.length,
      ...(reasoningTokens === 0 ? {} : { reasoningTokens }),
    };
    if (breaksWith !== undefined && events.length === 0) throw breaksWith;
    yield { type: 'accepted' };
    yield { type: 'started', promptTokens: PROMPT_TOKENS };
    yield* events;
    if (breaksWith !== undefined) throw breaksWith;
    if (hangs && !signal.aborted) await once(signal, 'abort');
    if (signal.aborted) this.#onCancelled();
    if (signal.aborted) yield { type: 'cancelled', usage };
    else yield { type: 'done', finishReason, stopSequence, usage };
  }

  async *operate(operation: Operation, signal: AbortSignal): AsyncGenerator<OperationEvent> {
    const { result, breaksWith, hangs = false } = this.#script;
    this.operations.push(operation);
    if (result === undefined && breaksWith !== undefined) throw breaksWith;
    yield { type: 'accepted' };
    if (hangs && !signal.aborted) await once(signal, 'abort');
    signal.throwIfAborted();
    if (result !== undefined) yield { type: 'result', result };
  }
}
