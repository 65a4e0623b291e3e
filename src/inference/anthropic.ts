import { anthropicError } from './anthropic-error.js';
import { AnthropicReply } from './anthropic-reply.js';
import { lowerMessages } from './anthropic-request.js';
import type { Dialect } from './dialect.js';

/** `/v1/messages`: Anthropic's shapes, to and from chat. */
export const anthropicMessages: Dialect = {
  lower: lowerMessages,
  reply: (facts) => new AnthropicReply(facts),
  errorBody: anthropicError,
};
