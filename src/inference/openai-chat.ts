import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { COMMON_FIELDS, effort, flag, MAX_TOP_LOGPROBS, refused, tokens, wholeNumberFrom } from './openai-fields.js';
import { Messages, messagesOf } from './openai-messages.js';
import {
  ChatFormat,
  ChatToolChoice,
  ChatTools,
  choiceProblem,
  formatOf,
  sizeProblem,
  toolChoiceOf,
  toolsOf,
} from './openai-tools.js';
import type { ChatRequest, JsonObject, Sampling } from './types.js';
import { parseBody, refusedField } from './validation.js';

/** The chat body: what the wire carries and what OpenAI clients send. Unknown fields are ignored. */

const MAX_SCOPE_CHARACTERS = 256;

/** What llama.cpp's own server uses when a request does not say. */
const DEFAULTS = { temperature: 0.8, topP: 0.95, topK: 40, minP: 0.05 } as const;

const ChatBody = z.object({
  ...COMMON_FIELDS,
  messages: Messages,
  max_tokens: tokens,
  max_completion_tokens: tokens,
  max_output_tokens: tokens,
  n: z.literal([0, 1], 'only one answer for each request is supported').nullish(),
  logprobs: flag,
  top_logprobs: wholeNumberFrom(0, MAX_TOP_LOGPROBS).nullish(),
  tools: ChatTools,
  tool_choice: ChatToolChoice,
  parallel_tool_calls: flag,
  response_format: ChatFormat,
  reasoning_effort: effort,
  store: z.literal(false, 'must be false: nothing is stored here').nullish(),
  modalities: z.array(z.literal('text', 'only text is supported'), 'must be a list').nullish(),
  verbosity: z.literal('medium', "must be 'medium' or left out").nullish(),
  audio: refused('only text is supported'),
  prediction: refused('predicted outputs are not supported'),
  web_search_options: refused('there is no web search here'),
  functions: refused("use 'tools'"),
  function_call: refused("use 'tool_choice'"),
  endpoint: z.undefined('this provider answers chat requests only').optional(),
  darkbloom: z
    .object({
      owner: z.boolean().optional(),
      cache_scope: z.string().max(MAX_SCOPE_CHARACTERS).optional(),
      op: z.string().optional(),
    })
    .optional(),
});

/** Asks for something other than chat. */
const Operation = z.object({
  endpoint: z.string().optional(),
  darkbloom: z.object({ op: z.string().optional() }).optional(),
});

/** The fields that are looked at. */
export const CHAT_FIELDS = Object.keys(ChatBody.shape);

/** @throws DarkbloomError `invalid_request` naming the field; `unsupported` for an operation other than chat. */
export function parseChat(body: unknown): ChatRequest {
  const asked = Operation.safeParse(body).data;
  const other = asked?.endpoint ?? asked?.darkbloom?.op;
  if (other !== undefined) throw new DarkbloomError('unsupported', 'This provider answers chat requests only.');

  const chat = parseBody(ChatBody, body);
  const maxTokens = chat.max_tokens ?? chat.max_completion_tokens ?? chat.max_output_tokens ?? undefined;
  const tools = toolsOf(chat.tools);
  const tooMuch = sizeProblem(tools);
  if (tooMuch !== undefined) throw refusedField(body, ['tools'], tooMuch);
  const toolChoice = toolChoiceOf(chat.tool_choice);
  const problem = choiceProblem(toolChoice, tools);
  if (problem !== undefined) throw refusedField(body, ['tool_choice'], problem);
  const topLogprobs = chat.logprobs === true ? (chat.top_logprobs ?? 0) : undefined;
  if (topLogprobs === undefined && (chat.top_logprobs ?? 0) > 0) {
    throw refusedField(body, ['top_logprobs'], "needs 'logprobs': true");
  }
  return {
    model: chat.model,
    messages: messagesOf(chat.messages),
    stop: typeof chat.stop === 'string' ? [chat.stop] : (chat.stop ?? []),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    sampling: samplingOf(chat),
    tools,
    toolChoice,
    parallelToolCalls: chat.parallel_tool_calls ?? true,
    format: formatOf(chat.response_format),
    templateArguments: { ...reasoningArguments(chat.reasoning_effort), ...chat.chat_template_kwargs },
    ...(topLogprobs === undefined ? {} : { topLogprobs }),
    logitBias: chat.logit_bias ?? {},
    ...(chat.darkbloom?.owner === undefined ? {} : { owner: chat.darkbloom.owner }),
    ...(chat.darkbloom?.cache_scope === undefined ? {} : { cacheScope: chat.darkbloom.cache_scope }),
  };
}

function samplingOf(chat: z.infer<typeof ChatBody>): Sampling {
  const greedy = chat.top_p === 0; // 0 keeps no token at all; clients that send it want the likeliest
  return {
    temperature: greedy ? 0 : (chat.temperature ?? DEFAULTS.temperature),
    topP: greedy ? 1 : (chat.top_p ?? DEFAULTS.topP),
    topK: chat.top_k ?? DEFAULTS.topK,
    minP: chat.min_p ?? DEFAULTS.minP,
    presencePenalty: chat.presence_penalty ?? 0,
    frequencyPenalty: chat.frequency_penalty ?? 0,
    repetitionPenalty: chat.repetition_penalty ?? 1,
    ...(typeof chat.seed === 'number' ? { seed: chat.seed } : {}),
  };
}

/** Templates that know levels know these three; those that know on and off alone read the other name. */
function reasoningArguments(asked: z.infer<typeof effort>): JsonObject {
  if (asked === null || asked === undefined) return {};
  return asked === 'none' ? { enable_thinking: false } : { reasoning_effort: LEVELS[asked], enable_thinking: true };
}

const LEVELS = { minimal: 'low', low: 'low', medium: 'medium', high: 'high', xhigh: 'high' } as const;
