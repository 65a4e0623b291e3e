import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { PLAIN, type ChatMessage, type ChatRequest, type Role } from './types.js';
import { parseBody } from './validation.js';

/** The chat body: what the wire carries and what OpenAI clients send. Unknown fields are ignored. */

const MAX_STOPS = 4;
const MAX_STOP_CHARACTERS = 256;
const MAX_SCOPE_CHARACTERS = 256;

/** What llama.cpp's own server uses when a request does not say. */
const DEFAULTS = { temperature: 0.8, topP: 0.95, topK: 40, minP: 0.05 } as const;

const ROLES: Record<string, Role> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
  function: 'tool',
};

const TextPart = z.object({ type: z.literal('text', 'only text parts are supported'), text: z.string() });
const Content = z.union([z.string(), z.null(), z.array(TextPart)], 'must be a string or a list of text parts');
const Message = z.object({
  role: z.enum(Object.keys(ROLES), `must be one of ${Object.keys(ROLES).join(', ')}`),
  content: Content.optional(),
  tool_calls: z.array(z.unknown()).max(0, 'tool calls are not supported yet').nullish(),
});
const numberFrom = (min: number, max: number) => {
  const range = `must be a number from ${min} to ${max}`;
  return z.number(range).min(min, range).max(max, range);
};
const tokens = z.int('must be a whole number above 0').positive('must be a whole number above 0').nullish();
const stop = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(MAX_STOP_CHARACTERS, `must be at most ${MAX_STOP_CHARACTERS} characters`);

const ChatBody = z.object({
  model: z.string('must be a string').min(1, 'must not be empty'),
  messages: z.array(Message, 'must be a list').min(1, 'must not be empty'),
  max_tokens: tokens,
  max_completion_tokens: tokens,
  temperature: numberFrom(0, 2).nullish(),
  top_p: numberFrom(0, 1).nullish(),
  top_k: z.int('must be a whole number').min(0, 'must be 0 or more').nullish(),
  min_p: numberFrom(0, 1).nullish(),
  presence_penalty: numberFrom(-2, 2).nullish(),
  frequency_penalty: numberFrom(-2, 2).nullish(),
  repetition_penalty: numberFrom(0.01, 10).nullish(),
  seed: z.int('must be a whole number').nullish(),
  stop: z
    .union(
      [stop, z.array(stop).max(MAX_STOPS, `must be at most ${MAX_STOPS} strings`)],
      'must be a string or a list of strings',
    )
    .nullish(),
  n: z.literal([0, 1], 'only one answer for each request is supported').nullish(),
  logprobs: z.literal(false, 'log probabilities are not supported yet').nullish(),
  top_logprobs: z.literal(0, 'log probabilities are not supported yet').nullish(),
  logit_bias: z.record(z.string().regex(/^\d+$/), numberFrom(-100, 100), 'must be an object of token ids').nullish(),
  tools: z.array(z.unknown()).max(0, 'tools are not supported yet').nullish(),
  tool_choice: z.enum(['none', 'auto'], "must be 'none' or 'auto' without tools").nullish(),
  response_format: z.object({ type: z.literal('text', 'only the type text is supported yet') }).nullish(),
  endpoint: z.undefined('this provider answers chat requests only').optional(),
  darkbloom: z
    .object({
      owner: z.boolean().optional(),
      cache_scope: z.string().max(MAX_SCOPE_CHARACTERS).optional(),
      op: z.string().optional(),
    })
    .optional(),
});

/** @throws DarkbloomError `invalid_request` naming the field; `unsupported` for an operation other than chat. */
export function parseChat(body: unknown): ChatRequest {
  const operation = z.object({
    endpoint: z.string().optional(),
    darkbloom: z.object({ op: z.string().optional() }).optional(),
  });
  const asked = operation.safeParse(body).data;
  const other = asked?.endpoint ?? asked?.darkbloom?.op;
  if (other !== undefined) throw new DarkbloomError('unsupported', 'This provider answers chat requests only.');

  const chat = parseBody(ChatBody, body);
  const maxTokens = chat.max_tokens ?? chat.max_completion_tokens ?? undefined;
  const greedy = chat.top_p === 0; // 0 keeps no token at all; clients that send it want the likeliest
  return {
    model: chat.model,
    messages: chat.messages.map(toMessage),
    ...PLAIN,
    stop: typeof chat.stop === 'string' ? [chat.stop] : (chat.stop ?? []),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    sampling: {
      temperature: greedy ? 0 : (chat.temperature ?? DEFAULTS.temperature),
      topP: greedy ? 1 : (chat.top_p ?? DEFAULTS.topP),
      topK: chat.top_k ?? DEFAULTS.topK,
      minP: chat.min_p ?? DEFAULTS.minP,
      presencePenalty: chat.presence_penalty ?? 0,
      frequencyPenalty: chat.frequency_penalty ?? 0,
      repetitionPenalty: chat.repetition_penalty ?? 1,
      ...(typeof chat.seed === 'number' ? { seed: chat.seed } : {}),
    },
    ...(chat.darkbloom?.owner === undefined ? {} : { owner: chat.darkbloom.owner }),
    ...(chat.darkbloom?.cache_scope === undefined ? {} : { cacheScope: chat.darkbloom.cache_scope }),
  };
}

function toMessage(message: z.infer<typeof Message>): ChatMessage {
  const { content } = message;
  const text = Array.isArray(content) ? content.map((part) => part.text).join('') : (content ?? '');
  return { role: ROLES[message.role] ?? 'user', content: text };
}
