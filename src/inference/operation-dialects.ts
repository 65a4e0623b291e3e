import { DarkbloomError } from '../errors.js';
import { anthropicError } from './anthropic-error.js';
import { lowerMessages } from './anthropic-request.js';
import type { Dialect, Reply, ReplyFacts } from './dialect.js';
import { embeddingsReply } from './embeddings.js';
import { openAiError } from './openai.js';
import type { ChatEvent, JsonObject, OperationResult } from './types.js';

/** The APIs whose answer is one result, never a stream. */

/** `/v1/messages/count_tokens` */
export const countTokens: Dialect = {
  op: 'count',
  lower: (body) => {
    const { stream: _never, ...chat } = lowerMessages(body);
    return chat;
  },
  reply: () => new ResultReply(({ promptTokens }) => ({ input_tokens: promptTokens })),
  errorBody: anthropicError,
};

/** `/v1/embeddings` */
export const embeddings: Dialect = {
  op: 'embed',
  promptField: 'input',
  lower: ({ model, input, dimensions, encoding_format, user }) => ({ model, input, dimensions, encoding_format, user }),
  reply: (facts) => new ResultReply((result) => embeddingsBody(result, facts)),
  errorBody: (error) => openAiError(error, 'input'),
};

function embeddingsBody(result: OperationResult, { model, asked = {} }: ReplyFacts): JsonObject {
  if (result.op !== 'embed') throw new DarkbloomError('provider_error', 'The machine answered another question.');
  return embeddingsReply(result, model, asked);
}

class ResultReply implements Reply {
  readonly #write: (result: OperationResult) => JsonObject;
  #result: OperationResult | undefined;

  constructor(write: (result: OperationResult) => JsonObject) {
    this.#write = write;
  }

  frames(event: ChatEvent): string {
    if (event.type === 'done') this.#result = event.result;
    return '';
  }

  /** There is no stream that could break. */
  failure(): string {
    return '';
  }

  body(): JsonObject {
    if (this.#result === undefined) throw new DarkbloomError('provider_error', 'The machine ended without a result.');
    return this.#write(this.#result);
  }
}
