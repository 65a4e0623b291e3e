import { isDeepStrictEqual } from 'node:util';
import { isJsonObject, type JsonObject } from '../types.js';
import { ARRAY_KEYWORDS, propertiesIn, refusedKeyword, requiredIn, typesIn } from './keywords.js';

const LARGER = new Set(['minLength', 'minItems', 'minimum', 'exclusiveMinimum']);
const SMALLER = new Set(['maxLength', 'maxItems', 'maximum', 'exclusiveMaximum']);

/** One schema that allows what both allow. Both hold assertions only.
 *  @throws DarkbloomError for what cannot be said in one schema. */
export function merged(a: JsonObject, b: JsonObject, path: string): JsonObject {
  refuseForeignMembers(a, b, path);
  refuseForeignMembers(b, a, path);
  const both: JsonObject = { ...withConstAsEnum(a), ...withConstAsEnum(b) };
  const [types, otherTypes] = [typesIn(a, path), typesIn(b, path)];
  if (types !== undefined || otherTypes !== undefined) {
    both['type'] = commonTypes(types ?? otherTypes ?? [], otherTypes ?? types ?? []);
    delete both['nullable'];
  }
  for (const keyword of Object.keys(withConstAsEnum(b))) {
    const [one, other] = [withConstAsEnum(a)[keyword], withConstAsEnum(b)[keyword]];
    if (one !== undefined && other !== undefined && keyword !== 'type' && keyword !== 'nullable')
      both[keyword] = mergedKeyword(keyword, one, other, path);
  }
  const properties = mergedProperties(propertiesIn(a, path), propertiesIn(b, path));
  if (Object.keys(properties).length > 0) both['properties'] = properties;
  const required = [...new Set([...requiredIn(a, path), ...requiredIn(b, path)])];
  if (required.length > 0) both['required'] = required;
  return both;
}

function withConstAsEnum({ const: value, ...others }: JsonObject): JsonObject {
  if (value === undefined) return others;
  const values = Array.isArray(others['enum']) ? (others['enum'] as unknown[]) : [value];
  return { ...others, enum: values.filter((each) => isDeepStrictEqual(each, value)) };
}

/** `additionalProperties` speaks of the names beside it only: one that stands in another schema does not know them. */
function refuseForeignMembers(a: JsonObject, b: JsonObject, path: string): void {
  const { additionalProperties = true } = a;
  if (additionalProperties === true) return;
  if (b['additionalProperties'] === undefined && Object.keys(propertiesIn(b, path)).length === 0) return;
  throw refusedKeyword(path, 'additionalProperties', 'cannot be combined with the properties of another schema');
}

/** Both properties' schemas; the reader merges what stands in `allOf`. */
function mergedProperties(a: JsonObject, b: JsonObject): JsonObject {
  const both = { ...a };
  for (const [name, schema] of Object.entries(b))
    both[name] = a[name] === undefined || isDeepStrictEqual(a[name], schema) ? schema : { allOf: [a[name], schema] };
  return both;
}

function commonTypes(a: readonly string[], b: readonly string[]): string[] {
  const isIn = (type: string, types: readonly string[]) =>
    types.includes(type) || (type === 'integer' && types.includes('number'));
  return [...new Set([...a.filter((type) => isIn(type, b)), ...b.filter((type) => isIn(type, a))])];
}

function mergedKeyword(keyword: string, a: unknown, b: unknown, path: string): unknown {
  if (isDeepStrictEqual(a, b)) return a;
  if (typeof a === 'number' && typeof b === 'number' && LARGER.has(keyword)) return Math.max(a, b);
  if (typeof a === 'number' && typeof b === 'number' && SMALLER.has(keyword)) return Math.min(a, b);
  if (keyword === 'enum' && Array.isArray(a) && Array.isArray(b))
    return a.filter((value) => b.some((other) => isDeepStrictEqual(value, other)));
  if (keyword === 'pattern' || keyword === 'format') return [a, b].flat(); // the reader takes several
  if (keyword === 'items' && isJsonObject(a) && isJsonObject(b)) return { allOf: [a, b] };
  if (keyword === 'properties' || keyword === 'required') return undefined; // put together by the caller
  const what = ARRAY_KEYWORDS.includes(keyword) ? 'cannot be combined' : 'stands in two schemas that must both hold';
  throw refusedKeyword(path, keyword, what);
}
