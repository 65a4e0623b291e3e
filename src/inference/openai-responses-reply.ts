import type { DarkbloomError } from '../errors.js';
import type { Reply, ReplyFacts } from './dialect.js';
import { finishReason, reasoningTokensOf } from './openai-chat-reply.js';
import type { ChatEvent, JsonObject, TokenLogprob, Usage } from './types.js';

type Done = Extract<ChatEvent, { type: 'done' }>;

/** An item of the output while it is written. */
type Item =
  | { type: 'reasoning'; id: string; text: string }
  | { type: 'message'; id: string; text: string; logprobs: TokenLogprob[] }
  | { type: 'function_call'; id: string; callId: string; name: string; text: string };

type Status = 'in_progress' | 'completed' | 'incomplete';

/**
 * The reply of `/v1/responses`: items one after another, each begun, written and ended by events of its own. Every event
 * has a number; the first two and the last carry the whole response as it stands.
 */
export class OpenAiResponsesReply implements Reply {
  readonly #facts: ReplyFacts;
  readonly #idTail: string;
  readonly #items: Item[] = [];
  #open: Item | undefined;
  #sequence = 0;
  #done: Done | undefined;

  constructor(facts: ReplyFacts) {
    this.#facts = facts;
    this.#idTail = facts.requestId.replaceAll('-', '');
  }

  frames(event: ChatEvent): string {
    switch (event.type) {
      case 'accepted':
      case 'cancelled':
        return '';
      case 'started':
        return (
          this.#event('response.created', { response: this.#response('in_progress') }) +
          this.#event('response.in_progress', { response: this.#response('in_progress') })
        );
      case 'reasoning':
        return this.#write('reasoning', event.text, [], () => ({
          type: 'reasoning',
          id: this.#itemId('rs'),
          text: '',
        }));
      case 'text':
        return this.#write('message', event.text, event.logprobs ?? [], () => this.#newMessage());
      case 'tool_call': {
        const { id: callId, name } = event;
        return this.#begin({ type: 'function_call', id: this.#itemId('fc'), callId, name, text: '' });
      }
      case 'tool_arguments':
        return this.#open?.type === 'function_call' ? this.#append(this.#open, event.text, []) : '';
      case 'done': {
        this.#done = event;
        const status = this.#status(event);
        const answered = this.#items.some(({ type }) => type !== 'reasoning');
        const empty = answered ? '' : this.#begin(this.#newMessage());
        return empty + this.#end(status) + this.#event(`response.${status}`, { response: this.#response(status) });
      }
    }
  }

  failure({ type, message, wireCode }: DarkbloomError): string {
    return this.#event('error', { error: { type, code: wireCode, message, param: null } });
  }

  body(): JsonObject {
    if (this.#done === undefined) throw new TypeError('The answer is not complete.');
    return this.#response(this.#status(this.#done));
  }

  #status(done: Done): 'completed' | 'incomplete' {
    return finishReason(done, this.#facts.maxTokens) === 'length' ? 'incomplete' : 'completed';
  }

  #newMessage(): Item {
    return { type: 'message', id: this.#itemId('msg'), text: '', logprobs: [] };
  }

  #itemId(kind: string): string {
    return `${kind}_${this.#idTail}_${this.#items.length}`;
  }

  /** Adds to the open item, if it is of this type; otherwise to a new one. */
  #write(type: Item['type'], text: string, logprobs: readonly TokenLogprob[], make: () => Item): string {
    const open = this.#open;
    if (open?.type === type) return this.#append(open, text, logprobs);
    const item = make();
    return this.#begin(item) + this.#append(item, text, logprobs);
  }

  #append(item: Item, text: string, logprobs: readonly TokenLogprob[]): string {
    item.text += text;
    const place = this.#place(item);
    switch (item.type) {
      case 'reasoning':
        return this.#event('response.reasoning_summary_text.delta', { ...place, summary_index: 0, delta: text });
      case 'message':
        item.logprobs.push(...logprobs);
        return this.#event('response.output_text.delta', {
          ...place,
          content_index: 0,
          delta: text,
          logprobs: logprobs.map(shortLogprob),
        });
      case 'function_call':
        return this.#event('response.function_call_arguments.delta', { ...place, delta: text });
    }
  }

  /** Ends the item before it. */
  #begin(item: Item): string {
    const before = this.#end('completed');
    this.#items.push(item);
    this.#open = item;
    const { output_index } = this.#place(item);
    const added = this.#event('response.output_item.added', { output_index, item: itemBody(item, 'in_progress') });
    return before + added + this.#partEvent(item, 'added');
  }

  #end(status: 'completed' | 'incomplete'): string {
    const item = this.#open;
    if (item === undefined) return '';
    this.#open = undefined;
    const { output_index } = this.#place(item);
    return (
      this.#textDone(item) +
      this.#partEvent(item, 'done') +
      this.#event('response.output_item.done', { output_index, item: itemBody(item, status) })
    );
  }

  #textDone(item: Item): string {
    const place = this.#place(item);
    const { text } = item;
    switch (item.type) {
      case 'reasoning':
        return this.#event('response.reasoning_summary_text.done', { ...place, summary_index: 0, text });
      case 'message': {
        const logprobs = item.logprobs.map(shortLogprob);
        return this.#event('response.output_text.done', { ...place, content_index: 0, text, logprobs });
      }
      case 'function_call':
        return this.#event('response.function_call_arguments.done', { ...place, name: item.name, arguments: text });
    }
  }

  #partEvent(item: Item, step: 'added' | 'done'): string {
    const place = this.#place(item);
    switch (item.type) {
      case 'reasoning': {
        const part = summaryPart(item.text);
        return this.#event(`response.reasoning_summary_part.${step}`, { ...place, summary_index: 0, part });
      }
      case 'message': {
        const part = textPart(item.text, item.logprobs);
        return this.#event(`response.content_part.${step}`, { ...place, content_index: 0, part });
      }
      case 'function_call':
        return '';
    }
  }

  #place(item: Item): { item_id: string; output_index: number } {
    return { item_id: item.id, output_index: this.#items.indexOf(item) };
  }

  #event(type: string, data: JsonObject): string {
    const numbered = { type, sequence_number: this.#sequence++, ...data };
    return `event: ${type}\ndata: ${JSON.stringify(numbered)}\n\n`;
  }

  /** All keys are there from the beginning, as the SDKs' types promise. What was asked for is repeated. */
  #response(status: Status): JsonObject {
    const { created, model, asked = {} } = this.#facts;
    const done = this.#done;
    const last = this.#items.at(-1);
    const output =
      status === 'in_progress' ? [] : this.#items.map((item) => itemBody(item, item === last ? status : 'completed'));
    return {
      id: `resp_${this.#idTail}`,
      object: 'response',
      created_at: created,
      status,
      error: null,
      incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
      instructions: asked['instructions'] ?? null,
      max_output_tokens: asked['max_output_tokens'] ?? null,
      model,
      output,
      parallel_tool_calls: asked['parallel_tool_calls'] ?? true,
      previous_response_id: null,
      store: false,
      temperature: asked['temperature'] ?? null,
      text: asked['text'] ?? { format: { type: 'text' } },
      tool_choice: asked['tool_choice'] ?? 'auto',
      tools: asked['tools'] ?? [],
      top_p: asked['top_p'] ?? null,
      metadata: asked['metadata'] ?? {},
      usage:
        done === undefined
          ? null
          : usageOf(
              done.usage,
              this.#items.some(({ type }) => type === 'reasoning'),
            ),
    };
  }
}

function itemBody(item: Item, status: Status): JsonObject {
  const begun = status === 'in_progress';
  switch (item.type) {
    case 'reasoning':
      return { id: item.id, type: 'reasoning', status, summary: begun ? [] : [summaryPart(item.text)] };
    case 'message': {
      const content = begun ? [] : [textPart(item.text, item.logprobs)];
      return { id: item.id, type: 'message', status, role: 'assistant', content };
    }
    case 'function_call': {
      const { id, callId, name, text } = item;
      return { id, type: 'function_call', status, call_id: callId, name, arguments: begun ? '' : text };
    }
  }
}

function summaryPart(text: string): JsonObject {
  return { type: 'summary_text', text };
}

function textPart(text: string, logprobs: readonly TokenLogprob[]): JsonObject {
  const told = logprobs.map(({ token, logprob, bytes, top }) => ({ token, logprob, bytes, top_logprobs: top }));
  return { type: 'output_text', text, annotations: [], logprobs: told };
}

/** In the stream this API leaves out the bytes. */
function shortLogprob({ token, logprob, top }: TokenLogprob): JsonObject {
  return { token, logprob, top_logprobs: top.map((other) => ({ token: other.token, logprob: other.logprob })) };
}

function usageOf(usage: Usage, reasoned: boolean): JsonObject {
  const { promptTokens, cachedTokens = 0, completionTokens } = usage;
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokensOf(usage, reasoned) },
    total_tokens: promptTokens + completionTokens,
  };
}
