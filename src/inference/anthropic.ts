import { z } from 'zod';
import type { DarkbloomError } from '../errors.js';
import type { Dialect, Reply, ReplyFacts } from './dialect.js';
import { openAiError } from './openai.js';
import { finishReason } from './openai-chat-reply.js';
import { isJsonObject, type ChatEvent, type JsonObject, type Usage } from './types.js';
import { parseBody } from './validation.js';

/** `/v1/messages`: Anthropic's shapes, to and from chat. */

const TextBlock = z.object({ type: z.literal('text', 'only text blocks are supported'), text: z.string() });
const Blocks = z.union([z.string(), z.array(TextBlock)], 'must be a string or a list of text blocks');
const MessagesBody = z.object({
  model: z.string('must be a string').min(1, 'must not be empty'),
  messages: z
    .array(
      z.object({
        role: z.enum(['user', 'assistant', 'system'], "must be 'user', 'assistant' or 'system'"),
        content: Blocks,
      }),
      'must be a list',
    )
    .min(1, 'must not be empty'),
  system: Blocks.nullish(),
  tools: z.array(z.unknown()).max(0, 'tools are not supported yet').nullish(),
  stop_sequences: z
    .array(z.string('must be a string').min(1, 'must not be empty'))
    .max(4, 'must be at most 4 strings')
    .nullish(),
});

export const anthropicMessages: Dialect = {
  lower: lowerMessages,
  reply: (facts) => new AnthropicReply(facts),
  errorBody: anthropicError,
};

const COPIED = ['max_tokens', 'temperature', 'top_p', 'top_k', 'stream', 'darkbloom'] as const;

function lowerMessages(body: JsonObject): JsonObject {
  const { model, messages, system, stop_sequences: stop } = parseBody(MessagesBody, body);
  const systemText = textOf(system ?? '', '\n');
  return {
    model,
    messages: [
      ...(systemText === '' ? [] : [{ role: 'system', content: systemText }]),
      ...messages.map(({ role, content }) => ({ role, content: textOf(content, '') })),
    ],
    ...Object.fromEntries(COPIED.filter((key) => body[key] !== undefined).map((key) => [key, body[key]])),
    ...(stop ? { stop } : {}),
  };
}

function textOf(blocks: z.infer<typeof Blocks>, separator: string): string {
  return typeof blocks === 'string' ? blocks : blocks.map((block) => block.text).join(separator);
}

class AnthropicReply implements Reply {
  readonly #facts: ReplyFacts;
  #text = '';
  #done: Extract<ChatEvent, { type: 'done' }> | undefined;

  constructor(facts: ReplyFacts) {
    this.#facts = facts;
  }

  frames(event: ChatEvent): string {
    switch (event.type) {
      case 'accepted':
      case 'cancelled':
      case 'reasoning':
      case 'tool_call':
      case 'tool_arguments':
        return ''; // tools and thinking cannot be asked for in this dialect yet
      case 'started':
        return frame('message_start', {
          message: {
            ...this.#head(),
            content: [],
            stop_reason: null,
            stop_sequence: null,
            usage: usageOf({ ...event, completionTokens: 0 }),
          },
        });
      case 'text': {
        if (event.text === '') return '';
        const first = this.#text === '';
        this.#text += event.text;
        const start = first
          ? frame('content_block_start', { index: 0, content_block: { type: 'text', text: '' } })
          : '';
        return start + frame('content_block_delta', { index: 0, delta: { type: 'text_delta', text: event.text } });
      }
      case 'done': {
        this.#done = event;
        const end = this.#text === '' ? '' : frame('content_block_stop', { index: 0 });
        const delta = { stop_reason: this.#stopReason(event), stop_sequence: event.stopSequence };
        return end + frame('message_delta', { delta, usage: usageOf(event.usage) }) + frame('message_stop', {});
      }
    }
  }

  failure(error: DarkbloomError): string {
    return frame('error', { error: { type: anthropicType(error), message: error.message, code: error.code } });
  }

  body(): JsonObject {
    const done = this.#done;
    if (done === undefined) throw new TypeError('The answer is not complete.');
    return {
      ...this.#head(),
      content: this.#text === '' ? [] : [{ type: 'text', text: this.#text }],
      stop_reason: this.#stopReason(done),
      stop_sequence: done.stopSequence,
      usage: usageOf(done.usage),
    };
  }

  #head(): JsonObject {
    return { id: `msg_${this.#facts.requestId}`, type: 'message', role: 'assistant', model: this.#facts.model };
  }

  #stopReason(done: Extract<ChatEvent, { type: 'done' }>): string {
    if (done.stopSequence !== null) return 'stop_sequence';
    return finishReason(done, this.#facts.maxTokens) === 'length' ? 'max_tokens' : 'end_turn';
  }
}

/** The SDKs dispatch on the `event:` line, and read the same name from the data. */
function frame(event: string, data: JsonObject): string {
  return `event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`;
}

/** Anthropic counts what came from the cache beside the input, not in it. */
function usageOf({ promptTokens, cachedTokens = 0, completionTokens }: Usage): JsonObject {
  return {
    input_tokens: promptTokens - cachedTokens,
    ...(cachedTokens === 0 ? {} : { cache_read_input_tokens: cachedTokens }),
    output_tokens: completionTokens,
  };
}

/** Right for both readers: Anthropic's envelope, with our precise reason in `code`. */
function anthropicError(error: DarkbloomError, requestId: string): JsonObject {
  const inner = openAiError(error)['error'];
  return {
    type: 'error',
    error: { ...(isJsonObject(inner) ? inner : {}), type: anthropicType(error) },
    request_id: requestId,
  };
}

function anthropicType({ status, retryable }: DarkbloomError): string {
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
