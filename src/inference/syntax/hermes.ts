import { literal } from '../grammar/literals.js';
import type { GrammarRules } from '../grammar/rules.js';
import { isJsonObject, type Tool } from '../types.js';
import { either, jsonCallRule, jsonRest, oneOrMore, propertiesOf, propertyRule, SPACE, wordsOf } from './call-rules.js';
import type { Output } from './output.js';
import { beginCall, jsonCall, jsonValue, openingThought, textAndCalls, type CallShape } from './passages.js';
import { Source, type Reading } from './source.js';
import type { Syntax } from './syntax.js';

/**
 * `<think>` … `</think>`, then text and `<tool_call>` … `</tool_call>`, with a call in JSON (Hermes 2 Pro, Qwen2.5, Qwen3) or
 * as `<function=NAME>` with `<parameter=KEY>` in it (Qwen3-Coder, Qwen3.5 and later). Both are read, whatever the template
 * shows.
 *
 * Sources: the prompt format of NousResearch/Hermes-2-Pro-Llama-3-8B; "Function Calling" in qwen.readthedocs.io; the chat
 * templates of Qwen/Qwen3-Coder-30B-A3B-Instruct and Qwen/Qwen3.5-4B.
 */
function reading(name: string): Pick<Syntax, 'name' | 'marks' | 'openThought' | 'thoughtMarks' | 'read'> {
  return {
    name,
    marks: MARKS,
    openThought: /<think>\s*$/u,
    thoughtMarks: ['<think>', '</think>'],
    *read(source, output, tools) {
      yield* openingThought(source, output, '<think>', '</think>');
      yield* textAndCalls(source, output, [OPEN, FUNCTION], (mark) => call(source, output, tools, mark));
    },
  };
}

const OPEN = '<tool_call>';
const CLOSE = '</tool_call>';
const FUNCTION = '<function=';
const PARAMETER = '<parameter=';
const MARKS = ['<think>', '</think>', OPEN, CLOSE, FUNCTION, '</function>', PARAMETER, '</parameter>'];
const SHAPE: CallShape = { argumentsKeys: ['arguments', 'parameters'], argumentsNeeded: false };

/** Asked for JSON. */
export const HERMES: Syntax = {
  ...reading('hermes'),
  callRule(rules, tools, parallel) {
    const one = rules.add(
      'tagged',
      `${literal(`${OPEN}\n`)} ${jsonCallRule(rules, tools, 'arguments')} ${literal(`\n${CLOSE}`)}`,
    );
    return oneOrMore(one, '"\\n"', parallel);
  },
  restRule: (rules, tool, since) => jsonRest(rules, tool, 'arguments', since),
};

/** Asked for tags. */
export const QWEN_CODER: Syntax = {
  ...reading('qwen-coder'),
  callRule(rules, tools, parallel) {
    const ways = tools.map(
      (tool) => `${literal(`${OPEN}\n${FUNCTION}${tool.name}>\n`)} ${parametersRule(rules, tool)}`,
    );
    const one = rules.add('tagged', `${either(ways)} ${literal(`</function>\n${CLOSE}`)}`);
    return oneOrMore(one, '"\\n"', parallel);
  },
  restRule(rules, tool, since) {
    return since.trim() === '' ? `"\\n"? ${parametersRule(rules, tool)} "</function>" ${SPACE}` : undefined;
  },
};

/** Any text without the end of a parameter in it. */
const PARAMETER_TEXT = '([^<] | "<" [^/] | "</" [^p])*';

function parametersRule(rules: GrammarRules, tool: Tool): string {
  const properties = propertiesOf(tool);
  const end = literal('\n</parameter>\n');
  if (properties === undefined) return `(${literal(PARAMETER)} [a-zA-Z0-9_.-]+ ">\\n" ${PARAMETER_TEXT} ${end})*`;
  const parameters = properties.map(({ name, schema, required }) => {
    const words = wordsOf(schema);
    const text = words === undefined ? PARAMETER_TEXT : either(words.map(literal));
    const value = isText(tool, name) ? text : propertyRule(rules, tool, schema);
    const rule = rules.add('parameter', `${literal(`${PARAMETER}${name}>\n`)} ${value} ${end}`);
    return required ? rule : `${rule}?`;
  });
  return parameters.length === 0 ? '""' : parameters.join(' ');
}

const NAME = /^[\w.-]{1,256}$/u;

function* call(source: Source, output: Output, tools: readonly Tool[], mark: string): Reading<boolean> {
  yield* source.space();
  const tagged = mark === FUNCTION || (yield* source.literal(FUNCTION));
  const found = tagged ? yield* functionTag(source, output, tools) : yield* jsonCall(source, output, SHAPE);
  if (!found || output.over) return found;
  yield* source.space();
  yield* source.literal(CLOSE);
  return true;
}

/** Behind `<function=`. */
function* functionTag(source: Source, output: Output, tools: readonly Tool[]): Reading<boolean> {
  const name = yield* tagName(source);
  const tool = tools.find((each) => each.name === name);
  if (tool === undefined || !output.offers(tool.name)) return false;
  output.named = { tool: tool.name, at: source.place };
  yield* source.space();
  let next = yield* source.oneOf([PARAMETER, '</function>']);
  if (next === undefined) return false;
  beginCall(source, output, tool.name);
  let before = '{';
  while (next === PARAMETER) {
    const key = yield* tagName(source);
    if (key === undefined) break;
    output.callArguments(`${before}${JSON.stringify(key)}:`);
    before = ',';
    if (!(yield* parameter(source, output, isText(tool, key)))) break;
    yield* source.space();
    next = yield* source.oneOf([PARAMETER, '</function>']);
  }
  // an answer that broke off leaves its arguments as they are
  if (!output.cut || next === '</function>') output.callArguments(before === '{' ? '{}' : '}');
  output.endCall();
  return true;
}

/** What stands before the next `>`. `undefined`: it is no name. */
function* tagName(source: Source): Reading<string | undefined> {
  let name = '';
  for (;;) {
    const char = yield* source.peek();
    if (char === '>') {
      source.take(1);
      return NAME.test(name) ? name : undefined;
    }
    if (char === undefined || !NAME.test(name + char)) return undefined;
    name += source.take(1);
  }
}

/** The value of a parameter, without the line breaks around it. False: it has no end. */
function* parameter(source: Source, output: Output, isString: boolean): Reading<boolean> {
  yield* source.literal('\n');
  if (isString) output.callArguments('"');
  let held = '';
  let value = '';
  const end = yield* source.until(['</parameter>'], (text) => {
    const all = held + text;
    // the last line break belongs to the tag; half a character could not be written as JSON
    const keep = /(?:\n|[\uD800-\uDBFF])$/u.test(all) ? 1 : 0;
    held = all.slice(all.length - keep);
    const shown = all.slice(0, all.length - keep);
    if (isString) output.callArguments(JSON.stringify(shown).slice(1, -1));
    else value += shown;
  });
  if (end === undefined && output.cut) return false;
  if (isString) output.callArguments('"');
  else output.callArguments(asJson(value));
  return end !== undefined;
}

/** Whether the value of a parameter is text as it stands. */
function isText(tool: Tool, key: string): boolean {
  const { properties } = tool.parameters;
  const schema = isJsonObject(properties) ? properties[key] : undefined;
  if (!isJsonObject(schema)) return true;
  const types = [schema.type].flat();
  if (schema.type === undefined && Array.isArray(schema.enum)) {
    return schema.enum.every((value) => typeof value === 'string');
  }
  return schema.type === undefined ? !isMixed(schema) : types.includes('string');
}

function isMixed(schema: object): boolean {
  return ['anyOf', 'oneOf', 'allOf', '$ref'].some((key) => key in schema);
}

/** A value that is not text: JSON, or a word of Python; else it is text after all. */
function asJson(value: string): string {
  const word = { True: 'true', False: 'false', None: 'null' }[value.trim()];
  if (word !== undefined) return word;
  const source = new Source();
  source.push(value.trim());
  source.end();
  const json = jsonValue(source).next().value;
  return typeof json === 'string' && source.left === '' ? json : JSON.stringify(value);
}
