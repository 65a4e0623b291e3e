import type { DarkbloomError } from '../errors.js';
import type { Dialect } from './dialect.js';
import { OpenAiChatReply } from './openai-chat-reply.js';
import { lowerCompletion } from './openai-completions.js';
import { OpenAiCompletionsReply } from './openai-completions-reply.js';
import { lowerResponse } from './openai-responses.js';
import { OpenAiResponsesReply } from './openai-responses-reply.js';
import type { JsonObject } from './types.js';

/** `/v1/chat/completions`: the chat body is the wire's own shape. A body with `input` in place of messages is one of the
 *  Responses API, as the contract has it. */
export const openAiChat: Dialect = {
  of: ({ messages, input }) =>
    input === undefined || (Array.isArray(messages) && messages.length > 0) ? openAiChat : openAiResponses,
  lower: (body) => body,
  reply: (facts) => new OpenAiChatReply(facts),
  errorBody: (error) => openAiError(error),
};

/** `/v1/completions`: the prompt is one message of a user. The wire has no message for a prompt without a template. */
export const openAiCompletions: Dialect = {
  promptField: 'prompt',
  lower: lowerCompletion,
  reply: (facts) => new OpenAiCompletionsReply(facts),
  errorBody: (error) => openAiError(error, 'prompt'),
};

/** `/v1/responses`. */
export const openAiResponses: Dialect = {
  promptField: 'input',
  lower: lowerResponse,
  reply: (facts) => new OpenAiResponsesReply(facts),
  errorBody: (error) => openAiError(error, 'input'),
};

/** `promptField`: what this API calls the messages. */
export function openAiError({ type, message, wireCode, param }: DarkbloomError, promptField = 'messages'): JsonObject {
  const named = param === 'messages' ? promptField : param;
  return { error: { type, message, code: wireCode, ...(named === undefined ? {} : { param: named }) } };
}
