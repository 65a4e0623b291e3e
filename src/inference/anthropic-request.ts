import { z } from 'zod';
import { checkSchema } from './grammar/check-schema.js';
import { invalidField, lowerTurns, Turn } from './anthropic-turns.js';
import { stops } from './openai-fields.js';
import { MAX_TOOLS, name } from './openai-tools.js';
import { type JsonObject, isJsonObject } from './types.js';
import { parseBody } from './validation.js';

/** The body of `/v1/messages` as a chat body. What Anthropic's API knows and nobody here can do is refused by name; keys
 *  that it does not know either are ignored. Bounds that chat has as well are chat's. */

/** Anthropic's least; a smaller budget is refused there as well. */
const MIN_THINKING_TOKENS = 1_024;

const Text = z.object({ type: z.literal('text', 'must be text'), text: z.string() });
const System = z.union([z.string(), z.array(Text)], 'must be a string or a list of text blocks');

const Tool = z.object({
  type: z.literal('custom', "must be 'custom' or absent: Anthropic's own tools are not here").nullish(),
  name,
  description: z.string().nullish(),
  input_schema: z
    .looseObject({ type: z.literal('object', "must be 'object'") }, 'must be a JSON Schema of type object')
    .optional(),
  strict: z.boolean().nullish(),
  /** Calls always come from the model itself, and all tools are told to it at once. */
  allowed_callers: z.array(z.literal('direct', "must be 'direct'")).nullish(),
  defer_loading: z.literal(false, 'tools cannot be loaded later').nullish(),
});

const parallel = { disable_parallel_tool_use: z.boolean().nullish() };
const ToolChoice = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('auto'), ...parallel }),
    z.object({ type: z.literal('any'), ...parallel }),
    z.object({ type: z.literal('tool'), name: z.string().min(1, 'must not be empty'), ...parallel }),
    z.object({ type: z.literal('none') }),
  ],
  "must have the type 'auto', 'any', 'tool' or 'none'",
);

const display = z.enum(['summarized', 'omitted'], "must be 'summarized' or 'omitted'").nullish();
const Thinking = z.discriminatedUnion(
  'type',
  [
    z.object({
      type: z.literal('enabled'),
      budget_tokens: z.int('must be a whole number').min(MIN_THINKING_TOKENS, `must be ${MIN_THINKING_TOKENS} or more`),
      display,
    }),
    z.object({ type: z.literal('adaptive'), display }),
    z.object({ type: z.literal('disabled') }),
  ],
  "must have the type 'enabled', 'adaptive' or 'disabled'",
);

const Format = z.object({
  type: z.literal('json_schema', "must be 'json_schema'"),
  schema: z.record(z.string(), z.unknown(), 'must be a JSON Schema'),
});
const SHARE_RULE = 'must be a number from 0 to 1';
const share = z.number(SHARE_RULE).min(0, SHARE_RULE).max(1, SHARE_RULE).nullish();
const absent = (why: string) => z.null(why).optional();

const MessagesBody = z.object({
  model: z.string('must be a string').min(1, 'must not be empty'),
  messages: z.array(Turn, 'must be a list').min(1, 'must not be empty'),
  system: System.nullish(),
  max_tokens: z.int('must be a whole number above 0').positive('must be a whole number above 0').nullish(),
  temperature: share,
  top_p: share,
  top_k: z.int('must be a whole number').min(0, 'must be 0 or more').nullish(),
  stream: z.boolean('must be true or false').nullish(),
  stop_sequences: stops.nullish(),
  tools: z.array(Tool, 'must be a list').max(MAX_TOOLS, `must be at most ${MAX_TOOLS} tools`).nullish(),
  tool_choice: ToolChoice.nullish(),
  thinking: Thinking.nullish(),
  output_config: z
    .object({
      effort: z
        .enum(['low', 'medium', 'high', 'xhigh', 'max'], "must be 'low', 'medium', 'high', 'xhigh' or 'max'")
        .nullish(),
      format: Format.nullish(),
    })
    .nullish(),
  output_format: Format.nullish(),
  /** What these ask for is so here without asking: there is one tier, one speed, and nothing is told of a user. */
  metadata: z.object({ user_id: z.string().nullish() }).nullish(),
  service_tier: z.enum(['auto', 'standard_only'], "must be 'auto' or 'standard_only'").nullish(),
  speed: z.literal('standard', "must be 'standard'").nullish(),
  container: absent('there are no containers here'),
  mcp_servers: z.array(z.unknown()).max(0, 'MCP servers are not called from here').nullish(),
  inference_geo: absent('places cannot be chosen here'),
  fallbacks: absent('other models are not tried here'),
  compaction: absent('conversations are not compacted here'),
  thread: absent('conversations are not kept here'),
});
type MessagesBody = z.infer<typeof MessagesBody>;

/** @throws DarkbloomError `invalid_request` naming the field. */
export function lowerMessages(body: JsonObject): JsonObject {
  const parsed = parseBody(MessagesBody, body);
  const { model, messages, system, stop_sequences: stop, max_tokens, temperature, top_p, top_k, stream } = parsed;
  const systemText = typeof system === 'string' ? system : (system ?? []).map(({ text }) => text).join('\n');
  const copied = { max_tokens, temperature, top_p, top_k, stream, stop, darkbloom: body['darkbloom'] };
  return {
    model,
    messages: [...(systemText === '' ? [] : [{ role: 'system', content: systemText }]), ...lowerTurns(messages)],
    ...Object.fromEntries(Object.entries(copied).filter(([, value]) => value !== undefined && value !== null)),
    ...lowerTools(parsed),
    ...lowerThinking(parsed),
    ...lowerOutput(parsed),
  };
}

function lowerTools({ tools, tool_choice: choice }: MessagesBody): JsonObject {
  const names = (tools ?? []).map(({ name }) => name);
  const twice = names.findIndex((name, index) => names.indexOf(name) < index);
  if (twice >= 0) throw invalidField(`tools.${twice}.name`, 'another tool has the same name');
  if (choice?.type === 'any' && names.length === 0)
    throw invalidField('tool_choice', 'there are no tools to choose from');
  if (choice?.type === 'tool' && !names.includes(choice.name)) {
    throw invalidField('tool_choice.name', 'no tool has this name');
  }
  if (names.length === 0) return {};
  return {
    tools: (tools ?? []).map(({ name, description, input_schema: parameters = { type: 'object' }, strict }) => ({
      type: 'function',
      function: { name, description: description ?? '', parameters, ...(strict === true ? { strict } : {}) },
    })),
    ...(choice ? { tool_choice: chatChoice(choice) } : {}),
    ...(choice && 'disable_parallel_tool_use' in choice && choice.disable_parallel_tool_use === true
      ? { parallel_tool_calls: false }
      : {}),
  };
}

function chatChoice(choice: z.infer<typeof ToolChoice>): JsonObject | string {
  if (choice.type === 'tool') return { type: 'function', function: { name: choice.name } };
  return choice.type === 'any' ? 'required' : choice.type;
}

/** Who does not ask for thinking gets none: a model that can leave it is told to. */
function lowerThinking({ thinking, max_tokens: bound }: MessagesBody): JsonObject {
  if (thinking?.type !== 'enabled') {
    return { chat_template_kwargs: { enable_thinking: thinking?.type === 'adaptive' } };
  }
  const { budget_tokens: budget } = thinking;
  if (typeof bound === 'number' && budget >= bound) {
    throw invalidField('thinking.budget_tokens', `must be less than max_tokens, which is ${bound}`);
  }
  return { chat_template_kwargs: { enable_thinking: true, thinking_budget: budget } };
}

function lowerOutput({ output_config: config, output_format: format }: MessagesBody): JsonObject {
  const schema = (config?.format ?? format)?.schema;
  if (schema) checkSchema(schema, config?.format ? 'output_config.format.schema' : 'output_format.schema');
  const effort = config?.effort;
  return {
    ...(effort ? { reasoning_effort: effort === 'xhigh' || effort === 'max' ? 'high' : effort } : {}),
    ...(schema ? { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } } } : {}),
  };
}

/** What a client sees of the model's thinking, by its own body. */
export function thinkingShown(body: JsonObject): 'hidden' | 'shown' | 'omitted' {
  const { thinking } = body;
  if (!isJsonObject(thinking) || (thinking['type'] !== 'enabled' && thinking['type'] !== 'adaptive')) return 'hidden';
  return thinking['display'] === 'omitted' ? 'omitted' : 'shown';
}
