import { z } from 'zod';
import { checkSchema } from './grammar/check-schema.js';
import {
  COMMON_FIELDS,
  effort,
  flag,
  MAX_TOP_LOGPROBS,
  refused,
  SAMPLING_FIELDS,
  tokens,
  wholeNumberFrom,
} from './openai-fields.js';
import { choiceProblem, FlatFormat, FlatToolChoice, FlatTools } from './openai-tools.js';
import { isJsonObject, type JsonObject } from './types.js';
import { parseBody, refusedField } from './validation.js';

/** The body of `/v1/responses`. Nothing is kept between two of them: each carries its whole conversation. */

const MAX_ITEMS = 4_096;
const MAX_PARTS = 1_024;
const MAX_NAME_CHARACTERS = 256;

const ONLY_TEXT = 'only text parts are supported';
const shortText = z
  .string('must be a string')
  .max(MAX_NAME_CHARACTERS, `must be at most ${MAX_NAME_CHARACTERS} characters`);
const Part = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.enum(['input_text', 'output_text', 'text', 'summary_text']), text: z.string() }),
    z.object({ type: z.literal('refusal'), refusal: z.string() }),
  ],
  ONLY_TEXT,
);
const Text = z.union(
  [z.string(), z.array(Part).max(MAX_PARTS, `must be at most ${MAX_PARTS} parts`)],
  'must be a string or a list of text parts',
);

const ROLES = ['system', 'developer', 'user', 'assistant'] as const;
const Message = z.object({
  type: z.literal('message'),
  role: z.enum(ROLES, `must be one of ${ROLES.join(', ')}`),
  content: Text,
});
const Call = z.object({
  type: z.literal('function_call'),
  call_id: shortText.nullish(),
  id: shortText.nullish(),
  name: shortText,
  arguments: z.string(),
});
const CallOutput = z.object({ type: z.literal('function_call_output'), call_id: shortText, output: Text });
const Reasoning = z.object({ type: z.literal('reasoning') });
const Item = z.discriminatedUnion(
  'type',
  [Message, Call, CallOutput, Reasoning],
  'must be message, function_call, function_call_output or reasoning',
);
type Item = z.infer<typeof Item>;

/** What may be asked for beside the answer. Reasoning comes in the clear, so there is nothing to encrypt. */
const LOGPROBS = 'message.output_text.logprobs';
const INCLUDED = [LOGPROBS, 'reasoning.encrypted_content'] as const;

const ResponseBody = z.object({
  ...COMMON_FIELDS,
  input: z.union(
    [
      z.string().min(1, 'must not be empty'),
      z.array(Item).min(1, 'must not be empty').max(MAX_ITEMS, `must be at most ${MAX_ITEMS} items`),
    ],
    'must be a string or a list of items',
  ),
  instructions: z.string('must be a string').nullish(),
  max_output_tokens: tokens,
  top_logprobs: wholeNumberFrom(0, MAX_TOP_LOGPROBS).nullish(),
  include: z.array(z.enum(INCLUDED, `must be one of ${INCLUDED.join(', ')}`), 'must be a list').nullish(),
  tools: FlatTools,
  tool_choice: FlatToolChoice,
  parallel_tool_calls: flag,
  text: z
    .object({
      format: FlatFormat,
      verbosity: z.literal('medium', "must be 'medium' or left out").nullish(),
    })
    .nullish(),
  reasoning: z
    .object({ effort, summary: z.enum(['auto', 'concise', 'detailed'], 'must be auto, concise or detailed').nullish() })
    .nullish(),
  store: flag,
  truncation: z.literal('disabled', "must be 'disabled': nothing is cut from a conversation").nullish(),
  background: z.literal(false, 'must be false: nothing is answered later').nullish(),
  max_tool_calls: refused('there are no tools of the server'),
  previous_response_id: refused('nothing is kept here; send the whole conversation'),
  conversation: refused('nothing is kept here; send the whole conversation'),
  prompt: refused('no prompts are kept here'),
});
type ResponseBody = z.infer<typeof ResponseBody>;

/** The fields that are looked at. */
export const RESPONSE_FIELDS = Object.keys(ResponseBody.shape);

/** @throws DarkbloomError `invalid_request` naming the field. */
export function lowerResponse(body: JsonObject): JsonObject {
  const asked = parseBody(ResponseBody, withItemTypes(body));
  const messages = messagesOf(asked);
  if (messages.length === 0) throw refusedField(body, ['input'], 'must hold a message or a call');
  const choice = asked.tool_choice;
  const named = typeof choice === 'object' && choice !== null ? { name: choice.name } : (choice ?? 'auto');
  const tools = asked.tools ?? [];
  const problem = choiceProblem(named, tools);
  if (problem !== undefined) throw refusedField(body, ['tool_choice'], problem);
  const withLogprobs = asked.include?.includes(LOGPROBS) === true || (asked.top_logprobs ?? 0) > 0;
  return {
    ...pick(asked, PASSED),
    messages,
    max_tokens: asked.max_output_tokens,
    ...(withLogprobs ? { logprobs: true, top_logprobs: asked.top_logprobs ?? 0 } : {}),
    ...(tools.length === 0 ? {} : { tools: tools.map(({ type, ...called }) => ({ type, function: called })) }),
    ...(typeof named === 'string'
      ? { tool_choice: named }
      : { tool_choice: { type: 'function', function: { name: named.name } } }),
    response_format: chatFormat(asked.text?.format),
    reasoning_effort: asked.reasoning?.effort,
  };
}

const PASSED = [
  'model',
  ...(Object.keys(SAMPLING_FIELDS) as (keyof typeof SAMPLING_FIELDS)[]),
  'parallel_tool_calls',
  'chat_template_kwargs',
  'stream',
  'prompt_cache_key',
] as const;

function pick(asked: ResponseBody, keys: readonly (keyof ResponseBody)[]): JsonObject {
  return Object.fromEntries(keys.map((key) => [key, asked[key]]));
}

/** An item without a type is a message. */
function withItemTypes(body: JsonObject): JsonObject {
  const { input } = body;
  if (!Array.isArray(input)) return body;
  const items: unknown[] = input;
  return { ...body, input: items.map((item) => (isJsonObject(item) ? { type: 'message', ...item } : item)) };
}

function chatFormat(format: z.infer<typeof FlatFormat>): JsonObject | undefined {
  if (format?.type !== 'json_schema') return format ?? undefined;
  const { type, ...named } = format;
  checkSchema(named.schema, 'text.format.schema');
  return { type, json_schema: named };
}

function messagesOf({ instructions, input }: ResponseBody): JsonObject[] {
  const messages: JsonObject[] = [];
  if (typeof instructions === 'string' && instructions !== '') messages.push({ role: 'system', content: instructions });
  if (typeof input === 'string') return [...messages, { role: 'user', content: input }];
  let calls: JsonObject[] | undefined; // of the assistant message that is the last one
  for (const item of input) {
    switch (item.type) {
      case 'function_call':
        if (calls === undefined) {
          const last = messages.at(-1);
          calls = [];
          if (last?.['role'] === 'assistant') last['tool_calls'] = calls;
          else messages.push({ role: 'assistant', content: '', tool_calls: calls });
        }
        calls.push(callOf(item));
        break;
      case 'function_call_output':
        calls = undefined;
        messages.push({ role: 'tool', tool_call_id: item.call_id, content: textOf(item.output) });
        break;
      case 'message':
        calls = undefined;
        messages.push({ role: item.role, content: textOf(item.content) });
        break;
      case 'reasoning':
        break; // what it thought before is not told to it again
      default:
        item satisfies never;
    }
  }
  return messages;
}

function callOf({ call_id: callId, id, name, arguments: text }: Extract<Item, { type: 'function_call' }>): JsonObject {
  return { id: callId ?? id ?? '', type: 'function', function: { name, arguments: text } };
}

function textOf(content: z.infer<typeof Text>): string {
  if (typeof content === 'string') return content;
  return content.map((part) => (part.type === 'refusal' ? part.refusal : part.text)).join('\n');
}
