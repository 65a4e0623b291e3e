import type { DarkbloomError } from '../errors.js';
import type { Reply, ReplyFacts } from './dialect.js';
import type { ChatEvent, FinishReason, JsonObject, TokenLogprob, ToolCall, Usage } from './types.js';

/** The reply of `/v1/chat/completions`, and the plaintext of the wire's chunks: `data: ` and compact JSON. */
export class OpenAiChatReply implements Reply {
  readonly #facts: ReplyFacts;
  #text = '';
  #reasoning = '';
  readonly #logprobs: TokenLogprob[] = [];
  readonly #calls: ToolCall[] = [];
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
        this.#logprobs.push(...(event.logprobs ?? []));
        return [this.#chunk({ content: event.text }, null, {}, event.logprobs)];
      case 'reasoning':
        this.#reasoning += event.text;
        return [this.#chunk(this.#reasoningFields(event.text))];
      case 'tool_call': {
        const { index, id, name } = event;
        this.#calls[index] = { id, name, arguments: '' };
        return [this.#chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] })];
      }
      case 'tool_arguments': {
        const { index, text } = event;
        const call = this.#calls[index];
        if (call !== undefined) call.arguments += text;
        return [this.#chunk({ tool_calls: [{ index, function: { arguments: text } }] })];
      }
      case 'done': {
        this.#done = event;
        const finish = this.#chunk({}, this.#finishReason(event));
        return this.#facts.includeUsage ? [finish, this.#usage(event.usage)] : [finish];
      }
    }
  }

  failure(error: DarkbloomError): string {
    return openAiFailure(error);
  }

  body(): JsonObject {
    const done = this.#done;
    if (done === undefined) throw new TypeError('The answer is not complete.');
    const calls = this.#calls.map(({ id, name, arguments: text }) => ({
      id,
      type: 'function',
      function: { name, arguments: text },
    }));
    const message = {
      role: 'assistant',
      content: this.#text,
      ...(this.#reasoning === '' ? {} : this.#reasoningFields(this.#reasoning)),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
    };
    return {
      ...this.#head('chat.completion'),
      choices: [
        {
          index: 0,
          message,
          ...(this.#logprobs.length === 0 ? {} : { logprobs: wireLogprobs(this.#logprobs) }),
          finish_reason: this.#finishReason(done),
        },
      ],
      usage: openAiUsage(done.usage, this.#reasoning !== ''),
    };
  }

  /** Clients look under either name; a coordinator needs one. */
  #reasoningFields(text: string): JsonObject {
    return this.#facts.forWire === true ? { reasoning_content: text } : { reasoning_content: text, reasoning: text };
  }

  #finishReason(done: Extract<ChatEvent, { type: 'done' }>): FinishReason {
    const reason = finishReason(done, this.#facts.maxTokens);
    return reason === 'stop' && this.#calls.length > 0 ? 'tool_calls' : reason;
  }

  #head(object: string): JsonObject {
    const { requestId, created, model } = this.#facts;
    return { id: `chatcmpl-${requestId}`, object, created, model };
  }

  #chunk(
    delta: JsonObject,
    reason: FinishReason | null = null,
    extra: JsonObject = {},
    logprobs: readonly TokenLogprob[] = [],
  ): string {
    const told = logprobs.length === 0 ? {} : { logprobs: wireLogprobs(logprobs) };
    const choices = [{ index: 0, delta, ...told, finish_reason: reason }];
    return `data: ${JSON.stringify({ ...this.#head('chat.completion.chunk'), choices, ...extra })}`;
  }

  /** The wire's first chunk carries the prompt's size, sealed like all else: some clients must be told at the start. */
  #roleChunk({ promptTokens, cachedTokens }: Extract<ChatEvent, { type: 'started' }>): string {
    const cached = cachedTokens === undefined ? {} : { cached_tokens: cachedTokens };
    const extra = this.#facts.forWire === true ? { darkbloom: { prompt_tokens: promptTokens, ...cached } } : {};
    return this.#chunk({ role: 'assistant', content: '' }, null, extra);
  }

  #usage(usage: Usage): string {
    return `data: ${JSON.stringify({ ...this.#head('chat.completion.chunk'), choices: [], usage: openAiUsage(usage, this.#reasoning !== '') })}`;
  }
}

/** The last event of a stream that broke. */
export function openAiFailure({ type, message, wireCode }: DarkbloomError): string {
  return `data: ${JSON.stringify({ error: { type, message, code: wireCode } })}\n\n`;
}

/** A provider that stopped at the bound may say `stop`; the client is told `length`. */
export function finishReason(
  done: { finishReason: FinishReason; usage: Usage },
  maxTokens: number | undefined,
): FinishReason {
  const atBound = maxTokens !== undefined && done.usage.completionTokens >= maxTokens;
  return atBound && done.finishReason === 'stop' ? 'length' : done.finishReason;
}

function wireLogprobs(logprobs: readonly TokenLogprob[]): JsonObject {
  return {
    content: logprobs.map(({ token, logprob, bytes, top }) => ({ token, logprob, bytes, top_logprobs: top })),
    refusal: null,
  };
}

/** The usage in OpenAI's words; `reasoned`: the answer had reasoning. */
export function openAiUsage(usage: Usage, reasoned = false): JsonObject {
  const { promptTokens, cachedTokens = 0, completionTokens } = usage;
  const reasoningTokens = reasoningTokensOf(usage, reasoned);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    ...(cachedTokens === 0 ? {} : { prompt_tokens_details: { cached_tokens: cachedTokens } }),
    ...(reasoningTokens === 0 ? {} : { completion_tokens_details: { reasoning_tokens: reasoningTokens } }),
  };
}

/** All of an answer with reasoning whose provider did not count it, as the contract has it. */
export function reasoningTokensOf({ reasoningTokens = 0, completionTokens }: Usage, reasoned: boolean): number {
  return reasoningTokens > 0 || !reasoned ? reasoningTokens : completionTokens;
}
