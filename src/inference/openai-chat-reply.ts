import type { DarkbloomError } from '../errors.js';
import type { Reply, ReplyFacts } from './dialect.js';
import type { ChatEvent, FinishReason, JsonObject, Usage } from './types.js';

/** The reply of `/v1/chat/completions`, and the plaintext of the wire's chunks: `data: ` and compact JSON. */
export class OpenAiChatReply implements Reply {
  readonly #facts: ReplyFacts;
  #text = '';
  #done: Extract<ChatEvent, { type: 'done' }> | undefined;

  constructor(facts: ReplyFacts) {
    this.#facts = facts;
  }

  frames(event: ChatEvent): string {
    const frames = this.events(event).map((data) => `${data}\n\n`);
    return frames.join('') + (event.type === 'done' ? 'data: [DONE]\n\n' : '');
  }

  /** The SSE events (`data: …`, no blank line) that this event becomes. */
  events(event: ChatEvent): string[] {
    switch (event.type) {
      case 'accepted':
      case 'cancelled':
        return [];
      case 'started':
        return [this.#roleChunk(event)];
      case 'text':
        this.#text += event.text;
        return [this.#chunk({ content: event.text })];
      case 'done': {
        this.#done = event;
        const finish = this.#chunk({}, finishReason(event, this.#facts.maxTokens));
        return this.#facts.includeUsage ? [finish, this.#usage(event.usage)] : [finish];
      }
    }
  }

  failure(error: DarkbloomError): string {
    const { type, message, wireCode } = error;
    return `data: ${JSON.stringify({ error: { type, message, code: wireCode } })}\n\n`;
  }

  body(): JsonObject {
    const done = this.#done;
    if (done === undefined) throw new TypeError('The answer is not complete.');
    return {
      ...this.#head('chat.completion'),
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: this.#text },
          finish_reason: finishReason(done, this.#facts.maxTokens),
        },
      ],
      usage: wireUsage(done.usage),
    };
  }

  #head(object: string): JsonObject {
    const { requestId, created, model } = this.#facts;
    return { id: `chatcmpl-${requestId}`, object, created, model };
  }

  #chunk(delta: JsonObject, reason: FinishReason | null = null, extra: JsonObject = {}): string {
    const choices = [{ index: 0, delta, finish_reason: reason }];
    return `data: ${JSON.stringify({ ...this.#head('chat.completion.chunk'), choices, ...extra })}`;
  }

  /** The wire's first chunk carries the prompt's size, sealed like all else: some clients must be told at the start. */
  #roleChunk({ promptTokens, cachedTokens }: Extract<ChatEvent, { type: 'started' }>): string {
    const cached = cachedTokens === undefined ? {} : { cached_tokens: cachedTokens };
    const extra = this.#facts.forWire === true ? { darkbloom: { prompt_tokens: promptTokens, ...cached } } : {};
    return this.#chunk({ role: 'assistant', content: '' }, null, extra);
  }

  #usage(usage: Usage): string {
    return `data: ${JSON.stringify({ ...this.#head('chat.completion.chunk'), choices: [], usage: wireUsage(usage) })}`;
  }
}

/** A provider that stopped at the bound may say `stop`; the client is told `length`. */
export function finishReason(
  done: { finishReason: FinishReason; usage: Usage },
  maxTokens: number | undefined,
): FinishReason {
  return maxTokens !== undefined && done.usage.completionTokens >= maxTokens ? 'length' : done.finishReason;
}

function wireUsage({ promptTokens, cachedTokens = 0, completionTokens }: Usage): JsonObject {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    ...(cachedTokens === 0 ? {} : { prompt_tokens_details: { cached_tokens: cachedTokens } }),
  };
}
