import type { DarkbloomError } from '../errors.js';
import type { Reply, ReplyFacts } from './dialect.js';
import { finishReason, openAiFailure, openAiUsage } from './openai-chat-reply.js';
import type { ChatEvent, FinishReason, JsonObject, TokenLogprob } from './types.js';

type Done = Extract<ChatEvent, { type: 'done' }>;

/** The reply of `/v1/completions`: text alone. Reasoning has no place in it. */
export class OpenAiCompletionsReply implements Reply {
  readonly #facts: ReplyFacts;
  #text = '';
  readonly #logprobs: TokenLogprob[] = [];
  #offset = 0; // characters of the tokens whose probabilities were told
  #done: Done | undefined;

  constructor(facts: ReplyFacts) {
    this.#facts = facts;
  }

  frames(event: ChatEvent): string {
    switch (event.type) {
      case 'text': {
        this.#text += event.text;
        this.#logprobs.push(...(event.logprobs ?? []));
        return this.#chunk(event.text, null, event.logprobs ?? []);
      }
      case 'done':
        this.#done = event;
        return [
          this.#chunk('', finishReason(event, this.#facts.maxTokens), []),
          this.#facts.includeUsage ? frame({ ...this.#head(), choices: [], usage: openAiUsage(event.usage) }) : '',
          'data: [DONE]\n\n',
        ].join('');
      default:
        return '';
    }
  }

  failure(error: DarkbloomError): string {
    return openAiFailure(error);
  }

  body(): JsonObject {
    const done = this.#done;
    if (done === undefined) throw new TypeError('The answer is not complete.');
    const reason = finishReason(done, this.#facts.maxTokens);
    const logprobs = this.#logprobs.length === 0 ? null : olderLogprobs(this.#logprobs, 0);
    const choices = [{ index: 0, text: this.#text, logprobs, finish_reason: reason }];
    return { ...this.#head(), choices, usage: openAiUsage(done.usage) };
  }

  #head(): JsonObject {
    const { requestId, created, model } = this.#facts;
    return { id: `cmpl-${requestId}`, object: 'text_completion', created, model };
  }

  #chunk(text: string, reason: FinishReason | null, told: readonly TokenLogprob[]): string {
    const logprobs = told.length === 0 ? null : olderLogprobs(told, this.#offset);
    for (const { token } of told) this.#offset += token.length;
    return frame({ ...this.#head(), choices: [{ index: 0, text, logprobs, finish_reason: reason }] });
  }
}

function frame(data: JsonObject): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

/** This API's own shape: four lists, one entry for each token. */
function olderLogprobs(told: readonly TokenLogprob[], offset: number): JsonObject {
  const starts: number[] = [];
  for (const { token } of told) {
    starts.push(offset);
    offset += token.length;
  }
  return {
    tokens: told.map(({ token }) => token),
    token_logprobs: told.map(({ logprob }) => logprob),
    top_logprobs: told.map(({ top }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
    text_offset: starts,
  };
}
