import { DarkbloomError } from '../../errors.js';
import { isJsonObject, type JsonObject } from '../types.js';

/** Keywords of JSON Schema (2020-12, and `definitions` and `nullable` of its relatives) that a grammar can say. */
export const OBJECT_KEYWORDS = ['properties', 'required', 'additionalProperties'];
export const ARRAY_KEYWORDS = ['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems'];
export const STRING_KEYWORDS = ['minLength', 'maxLength', 'format', 'pattern'];
export const NUMBER_KEYWORDS = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'];
const COMMON = ['type', 'enum', 'const', 'anyOf', 'oneOf', 'allOf', '$ref', 'nullable'];
const SUPPORTED = new Set([...OBJECT_KEYWORDS, ...ARRAY_KEYWORDS, ...STRING_KEYWORDS, ...NUMBER_KEYWORDS, ...COMMON]);

/** What says nothing about which values are allowed. */
const ANNOTATIONS = new Set([
  'title',
  'description',
  'default',
  'example',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
  'discriminator',
  'contentEncoding',
  'contentMediaType',
  '$schema',
  '$id',
  '$comment',
  '$defs',
  'definitions',
]);

/** The keywords that say which values are allowed, without annotations.
 *  @throws DarkbloomError for a keyword that is neither. */
export function assertionsOf(schema: unknown, path: string): JsonObject {
  if (!isJsonObject(schema)) throw refused(path, 'must be an object or a boolean');
  const entries = Object.entries(schema).filter(([keyword]) => !ANNOTATIONS.has(keyword) && !keyword.startsWith('x-'));
  for (const [keyword] of entries) if (!SUPPORTED.has(keyword)) throw refusedKeyword(path, keyword, 'is not supported');
  return Object.fromEntries(entries);
}

export function refusedKeyword(path: string, keyword: string, reason: string): DarkbloomError {
  return refused(`${path}.${keyword}`, reason);
}

export function refused(path: string, reason: string): DarkbloomError {
  const param = path.split('.')[0];
  return new DarkbloomError('unprocessable', `'${path}': ${reason}.`, param === undefined ? {} : { param });
}

/** A list of schemas. */
export function schemasIn(schema: JsonObject, keyword: string, path: string): unknown[] {
  const list = schema[keyword];
  if (!Array.isArray(list) || list.length === 0)
    throw refusedKeyword(path, keyword, 'must be a list that is not empty');
  return list;
}

/** A map of schemas; none: empty. */
export function propertiesIn(schema: JsonObject, path: string): JsonObject {
  const { properties = {} } = schema;
  if (!isJsonObject(properties)) throw refusedKeyword(path, 'properties', 'must be an object');
  return properties;
}

export function requiredIn(schema: JsonObject, path: string): string[] {
  const { required = [] } = schema;
  if (Array.isArray(required) && required.every((name) => typeof name === 'string')) return required;
  throw refusedKeyword(path, 'required', 'must be a list of strings');
}

/** A count; `undefined`: absent. */
export function countIn(schema: JsonObject, keyword: string, path: string): number | undefined {
  const count = schema[keyword];
  if (count === undefined) return undefined;
  if (typeof count === 'number' && Number.isInteger(count) && count >= 0) return count;
  throw refusedKeyword(path, keyword, 'must be a whole number of 0 or more');
}

const TYPES = ['object', 'array', 'string', 'integer', 'number', 'boolean', 'null'];

/** The types that are allowed; `undefined`: nothing is said about them. */
export function typesIn(schema: JsonObject, path: string): string[] | undefined {
  const { type, nullable } = schema;
  if (type === undefined) return undefined;
  const types = Array.isArray(type) ? (type as unknown[]) : [type];
  const known = types.filter((name): name is string => typeof name === 'string' && TYPES.includes(name));
  if (known.length < types.length || known.length === 0)
    throw refusedKeyword(path, 'type', `must be one or several of ${TYPES.join(', ')}`);
  return [...new Set(nullable === true ? [...known, 'null'] : known)];
}
