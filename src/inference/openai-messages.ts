import { z } from 'zod';
import { refused } from './openai-fields.js';
import type { ChatMessage, Role, ToolCall } from './types.js';

/** The conversation of a chat body. */

const MAX_MESSAGES = 4_096;
const MAX_PARTS = 1_024;
const MAX_CALLS = 128;
const MAX_NAME_CHARACTERS = 256;

const ROLES: Record<string, Role> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
  function: 'tool',
};

const shortText = z
  .string('must be a string')
  .max(MAX_NAME_CHARACTERS, `must be at most ${MAX_NAME_CHARACTERS} characters`);
const ONLY_TEXT = 'only text parts are supported';
const Part = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('text'), text: z.string() }),
    z.object({ type: z.literal('refusal'), refusal: z.string() }), // what an assistant once answered
  ],
  ONLY_TEXT,
);
const Content = z.union(
  [z.string(), z.null(), z.array(Part).max(MAX_PARTS, `must be at most ${MAX_PARTS} parts`)],
  'must be a string or a list of text parts',
);
const Call = z.object({
  id: shortText.min(1, 'must not be empty'),
  type: z.literal('function', 'only calls of functions are supported').optional(),
  function: z.object({ name: shortText.min(1, 'must not be empty'), arguments: z.string() }),
});

const Message = z
  .object({
    role: z.enum(Object.keys(ROLES), `must be one of ${Object.keys(ROLES).join(', ')}`),
    content: Content.optional(),
    name: shortText.nullish(),
    reasoning_content: z.string().nullish(),
    reasoning: z.string().nullish(),
    refusal: z.string().nullish(),
    tool_calls: z.array(Call).max(MAX_CALLS, `must be at most ${MAX_CALLS} calls`).nullish(),
    tool_call_id: shortText.nullish(),
    function_call: z.object({ name: shortText, arguments: z.string() }).nullish(),
    audio: refused('only text is supported'),
  })
  .superRefine(({ role, tool_calls: calls, function_call: older }, context) => {
    if (role === 'assistant') return;
    const message = 'only an assistant makes calls';
    if ((calls ?? []).length > 0) context.addIssue({ code: 'custom', path: ['tool_calls'], message });
    if (older !== null && older !== undefined) context.addIssue({ code: 'custom', path: ['function_call'], message });
  });

export const Messages = z
  .array(Message, 'must be a list')
  .min(1, 'must not be empty')
  .max(MAX_MESSAGES, `must be at most ${MAX_MESSAGES} messages`);

/** The messages in our words. The older API's one `function_call` has no id: it gets one, which its result repeats. */
export function messagesOf(messages: z.infer<typeof Messages>): ChatMessage[] {
  let lastId: string | undefined;
  return messages.map((message, index) => {
    const calls = callsOf(message, `call_${index}`);
    lastId = calls.at(-1)?.id ?? lastId;
    const reasoning = message.reasoning_content ?? message.reasoning ?? '';
    const role = ROLES[message.role] ?? 'user';
    const resultOf = message.tool_call_id ?? (message.role === 'function' ? lastId : undefined);
    return {
      role,
      content: textOf(message.content) || (message.refusal ?? ''),
      ...(role === 'assistant' && reasoning !== '' ? { reasoning } : {}),
      ...(calls.length === 0 ? {} : { toolCalls: calls }),
      ...(role === 'tool' && resultOf !== undefined ? { toolCallId: resultOf } : {}),
      ...(role === 'tool' && typeof message.name === 'string' ? { name: message.name } : {}),
    };
  });
}

function callsOf(message: z.infer<typeof Message>, idForOlder: string): ToolCall[] {
  const { tool_calls: calls, function_call: older } = message;
  if (older !== null && older !== undefined) return [{ id: idForOlder, ...older }];
  return (calls ?? []).map(({ id, function: called }) => ({ id, name: called.name, arguments: called.arguments }));
}

function textOf(content: z.infer<typeof Content> | undefined): string {
  if (!Array.isArray(content)) return content ?? '';
  return content.map((part) => (part.type === 'text' ? part.text : part.refusal)).join('');
}
