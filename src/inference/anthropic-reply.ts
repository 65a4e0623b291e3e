import type { DarkbloomError } from '../errors.js';
import { anthropicType } from './anthropic-error.js';
import { thinkingShown } from './anthropic-request.js';
import type { Reply, ReplyFacts } from './dialect.js';
import { finishReason } from './openai-chat-reply.js';
import { isJsonObject, type ChatEvent, type JsonObject, type Usage } from './types.js';

/** A block of the answer: finished ones are closed, the last may be open. */
type Block =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string }
  | { type: 'tool_use'; id: string; name: string; json: string };

/** The reply of `/v1/messages`: blocks one after another, numbered from 0. */
export class AnthropicReply implements Reply {
  readonly #facts: ReplyFacts;
  readonly #thinking: ReturnType<typeof thinkingShown>;
  readonly #blocks: Block[] = [];
  #done: Extract<ChatEvent, { type: 'done' }> | undefined;

  constructor(facts: ReplyFacts) {
    this.#facts = facts;
    this.#thinking = thinkingShown(facts.asked ?? {});
  }

  frames(event: ChatEvent): string {
    switch (event.type) {
      case 'accepted':
      case 'cancelled':
        return '';
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
      case 'text':
        return event.text === '' ? '' : this.#text(event.text);
      case 'reasoning':
        return event.text === '' || this.#thinking === 'hidden' ? '' : this.#thought(event.text);
      case 'tool_call':
        return this.#open({ type: 'tool_use', id: toolUseId(event.id), name: event.name, json: '' });
      case 'tool_arguments':
        return this.#arguments(event.text);
      case 'done': {
        this.#done = event;
        const delta = { stop_reason: this.#stopReason(event), stop_sequence: event.stopSequence };
        const end = frame('message_delta', { delta, usage: usageOf(event.usage) }) + frame('message_stop', {});
        return this.#close() + end;
      }
    }
  }

  #text(text: string): string {
    const last = this.#blocks.at(-1);
    const start = last?.type === 'text' ? '' : this.#open({ type: 'text', text: '' });
    const block = this.#blocks.at(-1);
    if (block?.type === 'text') block.text += text;
    return start + this.#delta({ type: 'text_delta', text });
  }

  #thought(thinking: string): string {
    const last = this.#blocks.at(-1);
    const start = last?.type === 'thinking' ? '' : this.#open({ type: 'thinking', thinking: '' });
    if (this.#thinking === 'omitted') return start;
    const block = this.#blocks.at(-1);
    if (block?.type === 'thinking') block.thinking += thinking;
    return start + this.#delta({ type: 'thinking_delta', thinking });
  }

  #arguments(json: string): string {
    const block = this.#blocks.at(-1);
    if (block?.type !== 'tool_use' || json === '') return '';
    block.json += json;
    return this.#delta({ type: 'input_json_delta', partial_json: json });
  }

  /** Ends the block before; the new one is the last. */
  #open(block: Block): string {
    const close = this.#close();
    const content_block = { ...this.#content(block), ...(block.type === 'thinking' ? { signature: '' } : {}) };
    this.#blocks.push(block);
    return close + frame('content_block_start', { index: this.#blocks.length - 1, content_block });
  }

  #close(): string {
    const block = this.#blocks.at(-1);
    if (block === undefined) return '';
    const signed =
      block.type === 'thinking' ? this.#delta({ type: 'signature_delta', signature: this.#signature }) : '';
    return signed + frame('content_block_stop', { index: this.#blocks.length - 1 });
  }

  #delta(delta: JsonObject): string {
    return frame('content_block_delta', { index: this.#blocks.length - 1, delta });
  }

  #content(block: Block): JsonObject {
    switch (block.type) {
      case 'text':
        return { ...block };
      case 'thinking':
        return { ...block, signature: this.#signature };
      case 'tool_use':
        return { type: block.type, id: block.id, name: block.name, input: inputOf(block.json) };
    }
  }

  /** Clients want one and send it back; nobody here signs or checks thoughts. */
  get #signature(): string {
    return `unsigned-${this.#facts.requestId}`;
  }

  failure(error: DarkbloomError): string {
    return frame('error', { error: { type: anthropicType(error), message: error.message, code: error.wireCode } });
  }

  body(): JsonObject {
    const done = this.#done;
    if (done === undefined) throw new TypeError('The answer is not complete.');
    return {
      ...this.#head(),
      content: this.#blocks.map((block) => this.#content(block)),
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
    const reason = finishReason(done, this.#facts.maxTokens);
    if (reason === 'length') return 'max_tokens';
    return reason === 'tool_calls' || this.#blocks.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn';
  }
}

/** The SDKs dispatch on the `event:` line, and read the same name from the data. */
function frame(event: string, data: JsonObject): string {
  return `event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`;
}

/** An id in Anthropic's dress; it comes back as it is. */
function toolUseId(id: string): string {
  return id.startsWith('call_') ? `toolu_${id.slice('call_'.length)}` : id;
}

/** Arguments that were cut off or are no object become an empty one. */
function inputOf(json: string): JsonObject {
  try {
    const input: unknown = JSON.parse(json);
    return isJsonObject(input) ? input : {};
  } catch {
    return {};
  }
}

/** Anthropic counts what came from the cache beside the input, not in it. Nothing is ever billed for filling it. */
function usageOf({ promptTokens, cachedTokens = 0, completionTokens }: Usage): JsonObject {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: completionTokens,
  };
}
