import { z } from 'zod';
import { checkSchema } from './grammar/check-schema.js';
import type { AnswerFormat, JsonObject, Tool, ToolChoice } from './types.js';

/** What the model may call, and what its answer must be. */

/** As many as OpenAI takes. */
export const MAX_TOOLS = 128;
/** Of all of them together: what is shown to the model is put together at once. */
const MAX_TOOLS_BYTES = 1_048_576;
const MAX_DESCRIPTION_CHARACTERS = 32_768;
const MAX_SCHEMA_BYTES = 65_536;
/** Levels of objects and lists in a JSON Schema. */
const MAX_SCHEMA_DEPTH = 64;
/** Anthropic's rule for the names of tools; OpenAI's has 64. */
const NAME = /^[\w-]{1,128}$/u;
const NAME_RULE = 'must be 1 to 128 letters, digits, _ or -';

/** Of a tool, or of a schema. */
export const name = z.string('must be a string').regex(NAME, NAME_RULE);
const description = z
  .string('must be a string')
  .max(MAX_DESCRIPTION_CHARACTERS, `must be at most ${MAX_DESCRIPTION_CHARACTERS} characters`)
  .nullish();
const strict = z.boolean('must be true or false').nullish();
const schema = z.record(z.string(), z.unknown(), 'must be a JSON Schema object').superRefine((value, context) => {
  if (isDeeperThan(value, MAX_SCHEMA_DEPTH)) {
    context.addIssue(`must be at most ${MAX_SCHEMA_DEPTH} levels deep`);
    return;
  }
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > MAX_SCHEMA_BYTES) context.addIssue(`must be at most ${MAX_SCHEMA_BYTES} bytes of JSON, not ${bytes}`);
});

function isDeeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth === 0 || Object.values(value).some((inner) => isDeeperThan(inner, depth - 1));
}

/** A function as the Responses API writes it; chat has it one level deeper. */
const FlatFunction = z.object({ name, description, parameters: schema.nullish(), strict });
const onlyFunctions = z.literal('function', 'only tools of the type function are supported');
const ChatTool = z.object({ type: onlyFunctions, function: FlatFunction });
const FlatTool = z.object({ type: onlyFunctions, ...FlatFunction.shape });

export const ChatTools = toolList(ChatTool, (tool) => tool.function.name, ['function', 'name']);
export const FlatTools = toolList(FlatTool, (tool) => tool.name, ['name']);

/** At most so many, and no name twice. */
function toolList<T extends z.ZodType>(tool: T, nameOf: (tool: z.infer<T>) => string, path: string[]) {
  return z
    .array(tool, 'must be a list')
    .max(MAX_TOOLS, `must be at most ${MAX_TOOLS} tools`)
    .superRefine((tools, context) => {
      const names = tools.map(nameOf);
      const twice = names.findIndex((each, index) => names.indexOf(each) !== index);
      if (twice >= 0) context.addIssue({ code: 'custom', path: [twice, ...path], message: 'is the name of two tools' });
    })
    .nullish();
}

const CHOICES = ['none', 'auto', 'required'] as const;
const CHOICE_RULE = "must be 'none', 'auto', 'required' or one function";
const onlyFunction = z.literal('function', "must be 'function': neither allowed_tools nor other kinds are supported");
export const ChatToolChoice = z
  .union(
    [z.enum(CHOICES, CHOICE_RULE), z.object({ type: onlyFunction, function: z.object({ name: z.string() }) })],
    CHOICE_RULE,
  )
  .nullish();
export const FlatToolChoice = z
  .union([z.enum(CHOICES, CHOICE_RULE), z.object({ type: onlyFunction, name: z.string() })], CHOICE_RULE)
  .nullish();

const FORMATS = ['text', 'json_object', 'json_schema'] as const;
const FORMAT_RULE = `must be one of ${FORMATS.join(', ')}`;
const NamedSchema = z.object({ name, description, schema, strict });
export const ChatFormat = z
  .object({ type: z.enum(FORMATS, FORMAT_RULE), json_schema: NamedSchema.optional() })
  .refine(({ type, json_schema: named }) => type !== 'json_schema' || named !== undefined, {
    path: ['json_schema'],
    message: 'must be an object with a schema',
  })
  .nullish();
export const FlatFormat = z
  .discriminatedUnion(
    'type',
    [
      z.object({ type: z.enum(['text', 'json_object']) }),
      z.object({ type: z.literal('json_schema'), ...NamedSchema.shape }),
    ],
    FORMAT_RULE,
  )
  .nullish();

export function toolsOf(tools: z.infer<typeof ChatTools>): Tool[] {
  return (tools ?? []).map(({ function: { name: called, description: said, parameters } }) => ({
    name: called,
    ...(typeof said === 'string' ? { description: said } : {}),
    parameters: parameters ?? NO_PARAMETERS,
  }));
}

const NO_PARAMETERS: JsonObject = { type: 'object', properties: {} };

export function toolChoiceOf(choice: z.infer<typeof ChatToolChoice>): ToolChoice {
  if (typeof choice === 'object' && choice !== null) return { name: choice.function.name };
  return choice ?? 'auto';
}

/** Why these tools are too much for one request. */
export function sizeProblem(tools: readonly Tool[]): string | undefined {
  const bytes = Buffer.byteLength(JSON.stringify(tools));
  if (bytes <= MAX_TOOLS_BYTES) return undefined;
  return `must be at most ${MAX_TOOLS_BYTES} bytes of JSON together, not ${bytes}`;
}

/** Why these tools cannot be chosen from like this. */
export function choiceProblem(choice: ToolChoice, tools: readonly { name: string }[]): string | undefined {
  if (choice === 'auto' || choice === 'none') return undefined;
  if (tools.length === 0) return "cannot ask for a call without 'tools'";
  if (choice === 'required' || tools.some((tool) => tool.name === choice.name)) return undefined;
  return "must name a function of 'tools'";
}

/** @throws DarkbloomError `unprocessable` for a schema that answers cannot be held to, naming keyword and place. */
export function formatOf(format: z.infer<typeof ChatFormat>): AnswerFormat {
  if (format?.json_schema !== undefined && format.type === 'json_schema') {
    checkSchema(format.json_schema.schema, 'response_format.json_schema.schema');
    return { type: 'schema', schema: format.json_schema.schema };
  }
  return { type: format?.type === 'json_object' ? 'json' : 'text' };
}
