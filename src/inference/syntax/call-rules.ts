import { DarkbloomError } from '../../errors.js';
import { literal } from '../grammar/literals.js';
import { GrammarRules } from '../grammar/rules.js';
import { isJsonObject, type JsonObject, type Tool } from '../types.js';

/** Grammar of calls, in GBNF. */

/** Little white space: a model that writes it for ever would never come to an end. */
export const SPACE = '[ \\n]{0,2}';

/** `undefined` where a grammar cannot say what the schema says: then any object will do. */
function schemaOrAny(rules: GrammarRules, schema: JsonObject, any: JsonObject): string {
  try {
    new GrammarRules(rules.texts).schema(schema, 'tools'); // what fails half-way must leave nothing in the rules
  } catch (error) {
    if (!(error instanceof DarkbloomError)) throw error;
    return rules.schema(any, 'tools');
  }
  return rules.schema(schema, 'tools');
}

/** A rule for the arguments of a tool as JSON. */
export function argumentsRule(rules: GrammarRules, { parameters }: Tool): string {
  return schemaOrAny(rules, { type: 'object', ...parameters }, { type: 'object' });
}

/** A rule for one property of a tool's arguments as JSON. */
export function propertyRule(rules: GrammarRules, { parameters }: Tool, schema: JsonObject): string {
  const { $defs, definitions } = parameters;
  return schemaOrAny(
    rules,
    { ...schema, ...($defs === undefined ? {} : { $defs }), ...(definitions === undefined ? {} : { definitions }) },
    {},
  );
}

/** One of these; there must be one. */
export function either(ways: readonly string[]): string {
  return `(${ways.join(' | ')})`;
}

/** A call as a JSON object. */
export function jsonCallRule(rules: GrammarRules, tools: readonly Tool[], key: string): string {
  const before = ['{', '"name"', ':'].map(literal).join(` ${SPACE} `);
  const between = [',', JSON.stringify(key), ':'].map(literal).join(` ${SPACE} `);
  const ways = tools.map((tool) => {
    return `${literal(JSON.stringify(tool.name))} ${SPACE} ${between} ${SPACE} ${argumentsRule(rules, tool)}`;
  });
  return rules.add('call', `${before} ${SPACE} ${either(ways)} ${SPACE} "}"`);
}

/** What is missing of a call behind its name. `since`: what has come there. `undefined`: too much to say. */
export function jsonRest(rules: GrammarRules, tool: Tool, key: string, since: string): string | undefined {
  const parts = [',', JSON.stringify(key), ':'];
  let come = since.replaceAll(/\s/gu, '');
  const missing = parts.flatMap((part) => {
    const length = commonLength(part, come);
    const rest = part.slice(length);
    come = come.slice(length);
    return rest === '' ? [] : [literal(rest)];
  });
  if (come !== '') return undefined;
  return ['', ...missing, argumentsRule(rules, tool), '"}"', ''].join(` ${SPACE} `);
}

/** What is missing of this text behind what has come of it. `undefined`: something else has come. */
export function literalRest(text: string, come: string): string | undefined {
  const trimmed = come.trim();
  return text.startsWith(trimmed) ? literal(text.slice(trimmed.length)) : undefined;
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

export interface Property {
  name: string;
  schema: JsonObject;
  required: boolean;
}

/** The properties that a tool names; `undefined`: it names none, and any will do. */
export function propertiesOf({ parameters }: Tool): Property[] | undefined {
  return propertiesIn(parameters);
}

export function propertiesIn(schema: JsonObject): Property[] | undefined {
  const { properties, required, additionalProperties } = schema;
  if (!isJsonObject(properties)) return additionalProperties === false ? [] : undefined;
  const needed = Array.isArray(required) ? (required as unknown[]) : [];
  return Object.entries(properties).map(([name, each]) => ({
    name,
    schema: isJsonObject(each) ? each : {},
    required: needed.includes(name),
  }));
}

/** The texts that a string may be; `undefined`: any. */
export function wordsOf(schema: JsonObject): string[] | undefined {
  const values = Array.isArray(schema.enum) ? (schema.enum as unknown[]) : [schema.const];
  const words = values.filter((value) => typeof value === 'string');
  return words.length === values.length && words.length > 0 ? words : undefined;
}

/** Calls in a row, or a single one. */
export function oneOrMore(call: string, between: string, parallel: boolean): string {
  return parallel ? `${call} (${between} ${call})*` : call;
}
