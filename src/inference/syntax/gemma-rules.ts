import { literal } from '../grammar/literals.js';
import type { GrammarRules } from '../grammar/rules.js';
import { isJsonObject, type JsonObject, type Tool } from '../types.js';
import { either, propertiesIn, wordsOf, type Property } from './call-rules.js';

/** Grammar of Gemma's notation of values: bare keys, strings between marks, the rest as in JSON. */

/** Objects and lists in one another that a schema may tell of; what is deeper is any value. */
const MAX_DEPTH = 16;
const NUMBER = '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})?';
const INTEGER = '"-"? ("0" | [1-9] [0-9]{0,14})';
const KEY = '[a-zA-Z0-9_] [a-zA-Z0-9_.-]{0,62}';

/** The arguments of a tool. `come`: how they begin already. */
export function gemmaArguments(rules: GrammarRules, { parameters }: Tool, quote: string, come: '' | '{' = ''): string {
  const behind = new GemmaRules(rules, quote).behindBrace(parameters, 0);
  return come === '{' ? behind : `"{" ${behind}`;
}

class GemmaRules {
  readonly #rules: GrammarRules;
  readonly #quote: string;

  constructor(rules: GrammarRules, quote: string) {
    this.#rules = rules;
    this.#quote = literal(quote);
  }

  /** An object, without its first brace. */
  behindBrace(schema: JsonObject, depth: number): string {
    const properties = propertiesIn(schema);
    if (properties === undefined || depth > MAX_DEPTH) return this.#anyMembers();
    // templates write them in this order
    const inOrder = [...properties].sort((a, b) => (a.name < b.name ? -1 : 1));
    return this.#rules.add('object', `${this.#members(inOrder, depth)} "}"`);
  }

  /** Optional members may be left out; commas stand between those that are there. */
  #members(properties: readonly Property[], depth: number): string {
    let [first, more] = ['""', '""'];
    for (const { name, schema, required } of [...properties].reverse()) {
      const member = this.#rules.add('member', `${literal(`${name}:`)} ${this.#value(schema, depth + 1)}`);
      const behind = this.#rules.add('members', more);
      const without = this.#rules.add('members', first);
      first = required ? `${member} ${behind}` : `${member} ${behind} | ${without}`;
      more = required ? `"," ${member} ${behind}` : `"," ${member} ${behind} | ${behind}`;
    }
    return this.#rules.add('members', first);
  }

  #value(schema: JsonObject, depth: number): string {
    const ways = [schema.anyOf, schema.oneOf].find(Array.isArray) as unknown[] | undefined;
    if (depth > MAX_DEPTH || schema.$ref !== undefined || schema.allOf !== undefined) return this.#any();
    if (ways !== undefined) return either(ways.map((way) => this.#value(isJsonObject(way) ? way : {}, depth + 1)));
    const words = wordsOf(schema);
    if (words !== undefined) return either(words.map((word) => `${this.#quote} ${literal(word)} ${this.#quote}`));
    const types = [schema.type].flat();
    if (schema.nullable === true) types.push('null');
    return either(types.map((type) => this.#typed(type, schema, depth)));
  }

  #typed(type: unknown, schema: JsonObject, depth: number): string {
    switch (type) {
      case 'string':
        return this.#string();
      case 'integer':
        return this.#rules.add('integer', INTEGER);
      case 'number':
        return this.#rules.add('number', NUMBER);
      case 'boolean':
        return '("true" | "false")';
      case 'null':
        return '"null"';
      case 'object':
        return `"{" ${this.behindBrace(schema, depth)}`;
      case 'array': {
        const item = this.#value(isJsonObject(schema.items) ? schema.items : {}, depth + 1);
        return this.#rules.add('array', `"[" (${item} ("," ${item})*)? "]"`);
      }
      default:
        return this.#any();
    }
  }

  #string(): string {
    return this.#rules.add('string', `${this.#quote} ([^<] | "<" [^|e])* ${this.#quote}`);
  }

  #any(): string {
    const [members, string] = [this.#anyMembers(), this.#string()];
    return this.#rules.add('any', `"{" ${members} | ${string} | "true" | "false" | "null" | ${NUMBER}`);
  }

  #anyMembers(): string {
    const string = this.#string();
    const scalar = this.#rules.add('scalar', `${string} | "true" | "false" | "null" | ${NUMBER}`);
    const list = this.#rules.add('list', `"[" (${scalar} ("," ${scalar})*)? "]"`);
    const member = `${KEY} ":" ${either([scalar, list])}`;
    return this.#rules.add('any-members', `(${member} ("," ${member})*)? "}"`);
  }
}
