import { once } from 'node:events';
import type { ChatEvent, ChatRequest, Generator, Usage } from '../../src/inference/types.js';

const PROMPT_TOKENS = 11;

interface Script {
  /** The pieces of the answer, a token each. */
  says?: readonly string[];
  /** Then it breaks with this, in place of an end. */
  breaksWith?: Error;
  /** Or it waits for the request to be cancelled. */
  hangs?: boolean;
  stopSequence?: string;
}

/** A generator whose answers a test writes. */
export class ScriptedGenerator implements Generator {
  readonly requests: ChatRequest[] = [];
  readonly #script: Script;

  constructor(script: Script = {}) {
    this.#script = script;
  }

  async *generate(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    const { says = [], breaksWith, hangs = false, stopSequence = null } = this.#script;
    this.requests.push(request);
    const usage: Usage = { promptTokens: PROMPT_TOKENS, completionTokens: says.length };
    if (breaksWith !== undefined && says.length === 0) throw breaksWith;
    yield { type: 'accepted' };
    yield { type: 'started', promptTokens: PROMPT_TOKENS };
    for (const text of says) yield { type: 'text', text };
    if (breaksWith !== undefined) throw breaksWith;
    if (hangs && !signal.aborted) await once(signal, 'abort');
    if (signal.aborted) yield { type: 'cancelled', usage };
    else yield { type: 'done', finishReason: 'stop', stopSequence, usage };
  }
}
