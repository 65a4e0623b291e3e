import type { DarkbloomError } from '../errors.js';
import type { Dialect } from './dialect.js';
import { OpenAiChatReply } from './openai-chat-reply.js';
import type { JsonObject } from './types.js';

/** `/v1/chat/completions`: the chat body is the wire's own shape. */
export const openAiChat: Dialect = {
  lower: (body) => body,
  reply: (facts) => new OpenAiChatReply(facts),
  errorBody: openAiError,
};

export function openAiError({ type, message, wireCode, param }: DarkbloomError): JsonObject {
  return { error: { type, message, code: wireCode, ...(param === undefined ? {} : { param }) } };
}
