import { isDeepStrictEqual } from 'node:util';
import { isJsonObject, type JsonObject } from '../types.js';
import { formatPattern, isStringFormat, STRING_FORMATS } from './formats.js';
import {
  ARRAY_KEYWORDS,
  assertionsOf,
  countIn,
  NUMBER_KEYWORDS,
  OBJECT_KEYWORDS,
  propertiesIn,
  refused,
  refusedKeyword,
  requiredIn,
  schemasIn,
  STRING_KEYWORDS,
  typesIn,
} from './keywords.js';
import { merged } from './merge.js';
import { LARGEST_INTEGER, LARGEST_NUMBER_BOUND, type Bound } from './number-ranges.js';
import { NOTHING, type Definition, type Member, type Shape } from './shape.js';
import type { Texts } from './texts.js';

export const MAX_SCHEMA_DEPTH = 64;
export const MAX_SCHEMAS = 4_000;
export const MAX_MEMBERS = 256;
export const MAX_VALUES = 1_000;
/** Characters of one value in `enum` or `const`, or of one name, as JSON. */
const MAX_VALUE_CHARACTERS = 1_000;
/** Characters of a string, or items of a list, that a bound may name. */
const MAX_COUNT = 32_000;

/** Characters of one pattern. */
const MAX_PATTERN_CHARACTERS = 2_000;

const TOO_MANY = `there may be ${MAX_SCHEMAS} schemas in one at most`;

/** Alternatives of which only one may hold: looked at when all definitions are known. */
export interface Exclusive {
  path: string;
  shapes: readonly Shape[];
}

/** Reads a JSON Schema into shapes. */
export class SchemaReader {
  readonly #root: unknown;
  readonly #rootPath: string;
  readonly #definitions = new Map<string, Definition>();
  readonly exclusives: Exclusive[] = [];
  readonly #texts: Texts;
  #schemas = 0;

  constructor(root: unknown, path: string, texts: Texts) {
    this.#texts = texts;
    this.#root = root;
    this.#rootPath = path;
  }

  /** @throws DarkbloomError `unprocessable` naming the keyword and its place. */
  read(): Shape {
    return this.#read(this.#root, this.#rootPath, 0);
  }

  #read(schema: unknown, path: string, depth: number): Shape {
    if (schema === true) return { type: 'any' };
    if (schema === false) return NOTHING;
    this.#schemas++;
    if (depth > MAX_SCHEMA_DEPTH) throw refused(path, `schemas may be nested ${MAX_SCHEMA_DEPTH} deep at most`);
    if (this.#schemas > MAX_SCHEMAS) throw refused(path, TOO_MANY);
    const found = assertionsOf(schema, path);
    const { $ref: reference } = found;
    if (reference !== undefined && Object.keys(found).length === 1) return this.#definition(reference, path, depth);
    return this.#readAll(this.#flat(found, path), path, depth);
  }

  #definition(reference: unknown, path: string, depth: number): Definition {
    const target = this.#target(reference, path);
    const known = this.#definitions.get(target.path);
    if (known !== undefined) return known;
    const definition: Definition = { type: 'definition', path: target.path, shape: NOTHING };
    this.#definitions.set(target.path, definition);
    definition.shape = this.#read(target.schema, target.path, depth + 1);
    return definition;
  }

  /** What a `$ref` names: a place in the same schema. */
  #target(reference: unknown, path: string): { schema: unknown; path: string } {
    if (typeof reference !== 'string' || !/^#(\/|$)/u.test(reference))
      throw refusedKeyword(path, '$ref', "must name a place in the same schema and begin with '#'");
    const steps = reference
      .slice(1)
      .split('/')
      .slice(1)
      .map((step) => unescaped(step));
    let schema = this.#root;
    for (const step of steps) {
      const isThere = typeof schema === 'object' && schema !== null && Object.hasOwn(schema, step);
      schema = isThere ? (Reflect.get(schema as object, step) as unknown) : undefined;
    }
    if (schema === undefined) throw refusedKeyword(path, '$ref', 'names no place in the schema');
    return { schema, path: [this.#rootPath, ...steps].join('.') };
  }

  /** With what `$ref` and `allOf` add. */
  #flat(schema: JsonObject, path: string, seen: readonly unknown[] = []): JsonObject {
    const { $ref: reference, allOf, ...own } = schema;
    const parts: unknown[] = allOf === undefined ? [] : schemasIn(schema, 'allOf', path);
    if (reference !== undefined) parts.push(this.#target(reference, path).schema);
    let all = own;
    for (const part of parts) {
      this.#schemas++;
      if (this.#schemas > MAX_SCHEMAS) throw refused(path, TOO_MANY);
      if (seen.includes(part))
        throw refusedKeyword(path, reference === undefined ? 'allOf' : '$ref', 'leads back to itself');
      if (part === true) continue;
      if (part === false) throw refusedKeyword(path, 'allOf', 'allows nothing');
      all = merged(all, this.#flat(assertionsOf(part, path), path, [...seen, part]), path);
    }
    return all;
  }

  #readAll(schema: JsonObject, path: string, depth: number): Shape {
    if (schema['anyOf'] !== undefined && schema['oneOf'] !== undefined)
      throw refusedKeyword(path, 'oneOf', 'cannot be combined with anyOf');
    for (const keyword of ['anyOf', 'oneOf']) {
      if (schema[keyword] === undefined) continue;
      const { [keyword]: _, ...base } = schema;
      const shapes = schemasIn(schema, keyword, path).map((branch, index) => {
        const at = `${path}.${keyword}.${index}`;
        if (Object.keys(base).length === 0 || branch === false) return this.#read(branch, at, depth + 1);
        return this.#read(branch === true ? base : { allOf: [base, branch] }, at, depth + 1);
      });
      if (keyword === 'oneOf') this.exclusives.push({ path, shapes });
      return { type: 'either', shapes };
    }
    if (schema['enum'] !== undefined || schema['const'] !== undefined) return valuesOf(schema, path);
    const shapes = typesFor(schema, path).map((type) => this.#readType(type, schema, path, depth));
    const [only] = shapes;
    return only !== undefined && shapes.length === 1 ? only : { type: 'either', shapes };
  }

  #readType(type: string, schema: JsonObject, path: string, depth: number): Shape {
    switch (type) {
      case 'object':
        return this.#readObject(schema, path, depth);
      case 'array':
        return this.#readArray(schema, path, depth);
      case 'string':
        return this.#readString(schema, path);
      case 'integer':
        return integerOf(schema, path);
      case 'number':
        return { type, min: lowest(schema, path), max: highest(schema, path) };
      case 'boolean':
      case 'null':
        return { type };
      default:
        return { type: 'any' };
    }
  }

  #readObject(schema: JsonObject, path: string, depth: number): Shape {
    const properties = propertiesIn(schema, path);
    const required = new Set(requiredIn(schema, path));
    const { additionalProperties } = schema;
    const undeclared = [...required].filter((name) => !Object.hasOwn(properties, name));
    if (additionalProperties === false && undeclared.length > 0)
      throw refusedKeyword(path, 'required', 'names a property that additionalProperties forbids');
    const all = [
      ...Object.entries(properties),
      ...undeclared.map((name) => [name, additionalProperties ?? true] as const),
    ];
    if (all.length > MAX_MEMBERS) throw refusedKeyword(path, 'properties', `may be ${MAX_MEMBERS} at most`);
    const members: Member[] = all.map(([name, each]) => {
      if (JSON.stringify(name).length > MAX_VALUE_CHARACTERS)
        throw refusedKeyword(path, 'properties', `names may have ${MAX_VALUE_CHARACTERS} characters at most`);
      return { name, required: required.has(name), shape: this.#read(each, `${path}.properties.${name}`, depth + 1) };
    });
    const open = additionalProperties ?? members.length === 0;
    const rest = open === false ? undefined : this.#read(open, `${path}.additionalProperties`, depth + 1);
    return { type: 'object', members: members.filter((member) => member.required || !isNothing(member.shape)), rest };
  }

  #readString(schema: JsonObject, path: string): Shape {
    const min = countUpTo(schema, 'minLength', path) ?? 0;
    const max = countUpTo(schema, 'maxLength', path);
    if (max !== undefined && max < min) throw refusedKeyword(path, 'maxLength', 'is less than minLength');
    const patterns = patternsIn(schema, path);
    return patterns.length === 0 ? { type: 'string', min, max } : this.#texts.shapeOf(patterns, min, max, path);
  }

  #readArray(schema: JsonObject, path: string, depth: number): Shape {
    const { items = true, uniqueItems = false } = schema;
    if (uniqueItems !== false) throw refusedKeyword(path, 'uniqueItems', 'is not supported');
    const listed = schema['prefixItems'] === undefined ? [] : schemasIn(schema, 'prefixItems', path);
    const first = listed.map((each, index) => this.#read(each, `${path}.prefixItems.${index}`, depth + 1));
    const rest = items === false ? undefined : this.#read(items, `${path}.items`, depth + 1);
    const min = countUpTo(schema, 'minItems', path) ?? 0;
    const max = countUpTo(schema, 'maxItems', path) ?? (rest === undefined ? first.length : undefined);
    if ((max !== undefined && max < min) || (rest === undefined && min > first.length))
      throw refusedKeyword(path, 'minItems', 'is more than there can be');
    return { type: 'array', first, rest, min, max };
  }
}

function unescaped(step: string): string {
  try {
    return decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    return step; // a percent sign that stands for itself
  }
}

function isNothing(shape: Shape): boolean {
  return shape.type === 'either' && shape.shapes.length === 0;
}

/** The types that a schema is about: those it names, else those that its keywords are about. */
function typesFor(schema: JsonObject, path: string): string[] {
  const named = typesIn(schema, path);
  if (named !== undefined) return named.includes('number') ? named.filter((type) => type !== 'integer') : named;
  const has = (keywords: readonly string[]) => keywords.some((keyword) => schema[keyword] !== undefined);
  const meant = [
    ...(has(OBJECT_KEYWORDS) ? ['object'] : []),
    ...(has(ARRAY_KEYWORDS) ? ['array'] : []),
    ...(has(STRING_KEYWORDS) ? ['string'] : []),
    ...(has(NUMBER_KEYWORDS) ? ['number'] : []),
  ];
  return meant.length === 0 ? ['any'] : meant;
}

const BESIDE_VALUES = new Set(['enum', 'const', 'type', 'nullable']);

function valuesOf(schema: JsonObject, path: string): Shape {
  const other = Object.keys(schema).find((keyword) => !BESIDE_VALUES.has(keyword));
  if (other !== undefined) throw refusedKeyword(path, other, 'cannot be combined with enum or const');
  const types = typesIn(schema, path);
  const { enum: listed = [schema['const']], const: only } = schema;
  if (!Array.isArray(listed)) throw refusedKeyword(path, 'enum', 'must be a list');
  if (listed.length > MAX_VALUES) throw refusedKeyword(path, 'enum', `may have ${MAX_VALUES} values at most`);
  const values = (listed as unknown[])
    .filter((value) => only === undefined || isDeepStrictEqual(value, only))
    .filter((value) => types === undefined || types.some((type) => isOfType(value, type)));
  if (values.some((value) => JSON.stringify(value).length > MAX_VALUE_CHARACTERS))
    throw refusedKeyword(path, 'enum', `values may have ${MAX_VALUE_CHARACTERS} characters at most`);
  return values.length === 0 ? NOTHING : { type: 'values', values };
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case 'object':
      return isJsonObject(value);
    case 'array':
      return Array.isArray(value);
    case 'null':
      return value === null;
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

function countUpTo(schema: JsonObject, keyword: string, path: string): number | undefined {
  const count = countIn(schema, keyword, path);
  if (count !== undefined && count > MAX_COUNT) throw refusedKeyword(path, keyword, `may be ${MAX_COUNT} at most`);
  return count;
}

/** The patterns of a schema and of others that were merged into it, and those of their formats. */
function patternsIn(schema: JsonObject, path: string): string[] {
  const { pattern = [], format = [] } = schema;
  const patterns = [pattern].flat().map((each: unknown) => {
    if (typeof each !== 'string') throw refusedKeyword(path, 'pattern', 'must be a string');
    if (each.length <= MAX_PATTERN_CHARACTERS) return each;
    throw refusedKeyword(path, 'pattern', `may have ${MAX_PATTERN_CHARACTERS} characters at most`);
  });
  const formats: unknown[] = [format].flat();
  const known = formats.filter(isStringFormat);
  if (known.length < formats.length && patterns.length === 0) {
    const names = STRING_FORMATS.join(', ');
    throw refusedKeyword(path, 'format', `must be one of ${names}, or have a pattern beside it that says the same`);
  }
  return [...patterns, ...known.map(formatPattern)];
}

function integerOf(schema: JsonObject, path: string): Shape {
  const min = boundOf(schema, 'minimum', path);
  const above = boundOf(schema, 'exclusiveMinimum', path);
  const max = boundOf(schema, 'maximum', path);
  const below = boundOf(schema, 'exclusiveMaximum', path);
  const from = [min === undefined ? [] : Math.ceil(min), above === undefined ? [] : Math.floor(above) + 1].flat();
  const to = [max === undefined ? [] : Math.floor(max), below === undefined ? [] : Math.ceil(below) - 1].flat();
  const range = {
    min: from.length === 0 ? undefined : Math.max(...from),
    max: to.length === 0 ? undefined : Math.min(...to),
  };
  if (range.min !== undefined && range.min > (range.max ?? LARGEST_INTEGER)) throw refused(path, 'allows no number');
  if (range.max !== undefined && range.max < -LARGEST_INTEGER) throw refused(path, 'allows no number');
  return { type: 'integer', ...range };
}

function boundOf(schema: JsonObject, keyword: string, path: string): number | undefined {
  const bound = schema[keyword];
  if (bound === undefined || isBeyond(bound, keyword)) return undefined;
  if (typeof bound === 'number' && Math.abs(bound) <= LARGEST_INTEGER) return bound;
  throw refusedKeyword(path, keyword, `must be a number from -${LARGEST_INTEGER} to ${LARGEST_INTEGER}`);
}

/** A bound that no number that is written comes near: `Number.MAX_SAFE_INTEGER`, for one. */
function isBeyond(bound: unknown, keyword: string): boolean {
  if (typeof bound !== 'number' || Math.abs(bound) <= LARGEST_INTEGER + 1) return false;
  return keyword.toLowerCase().endsWith('minimum') ? bound < 0 : bound > 0;
}

function lowest(schema: JsonObject, path: string): Bound | undefined {
  const bounds = boundsOf(schema, 'minimum', 'exclusiveMinimum', path);
  return bounds.sort((a, b) => b.value - a.value || Number(b.exclusive) - Number(a.exclusive))[0];
}

function highest(schema: JsonObject, path: string): Bound | undefined {
  const bounds = boundsOf(schema, 'maximum', 'exclusiveMaximum', path);
  return bounds.sort((a, b) => a.value - b.value || Number(b.exclusive) - Number(a.exclusive))[0];
}

function boundsOf(schema: JsonObject, inclusive: string, exclusive: string, path: string): Bound[] {
  return [inclusive, exclusive].flatMap((keyword) => {
    const value = schema[keyword];
    if (value === undefined) return [];
    // without an exponent a number stays within
    if (isBeyond(value, keyword)) return [{ value: Math.sign(Number(value)) * LARGEST_INTEGER, exclusive: false }];
    const isWhole = typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= LARGEST_NUMBER_BOUND;
    if (isWhole) return [{ value, exclusive: keyword === exclusive }];
    const range = `from -${LARGEST_NUMBER_BOUND} to ${LARGEST_NUMBER_BOUND}`;
    throw refusedKeyword(path, keyword, `must be a whole number ${range} beside the type number`);
  });
}
