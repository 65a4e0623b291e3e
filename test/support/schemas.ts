import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { isJsonObject, type JsonObject } from '../../src/inference/types.js';

/** Schemas of the subset that a grammar can say, and what a validator that is not ours says about values. */

const word = fc.stringMatching(/^[a-z]{1,6}$/u);
const count = fc.integer({ min: 0, max: 3 });

const string = fc.oneof(
  fc.constant({ type: 'string' }),
  fc.tuple(count, fc.integer({ min: 0, max: 90 })).map(([minLength, more]) => ({
    type: 'string',
    minLength,
    maxLength: minLength + more,
  })),
  fc
    .constantFrom('date', 'time', 'date-time', 'duration', 'uuid', 'ipv4', 'ipv6', 'email', 'hostname', 'uri')
    .map((format) => ({
      type: 'string',
      format,
    })),
  fc
    .constantFrom('^[A-Z]{2,3}-\\d+$', '^(?:yes|no|may ?be)$', '["\\\\]', '^(?!a)[^\\s@]+@', 'ß|\\u{1f600}')
    .map((pattern) => ({
      type: 'string',
      pattern,
    })),
  fc.constant({ type: 'string', pattern: '^\\w+( \\w+)*$', minLength: 2, maxLength: 30 }),
);
const bounds = fc
  .tuple(fc.integer({ min: -3_000, max: 3_000 }), fc.integer({ min: 0, max: 100_000 }))
  .chain(([from, more]) =>
    fc.constantFrom(
      { minimum: from, maximum: from + more },
      { minimum: from },
      { maximum: from },
      { exclusiveMinimum: from, exclusiveMaximum: from + more + 2 },
      { exclusiveMinimum: from, maximum: from + more + 1 },
    ),
  );
const number = fc
  .tuple(fc.constantFrom('integer', 'number'), fc.option(bounds))
  .map(([type, range]) => ({ type, ...range }));
const value = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.array(word, { maxLength: 2 }),
);
const scalar: fc.Arbitrary<JsonObject> = fc.oneof(
  string,
  number,
  fc.constantFrom(
    { type: 'boolean' },
    { type: 'null' },
    { type: 'string', nullable: true },
    { type: ['integer', 'null'] },
  ),
  fc
    .uniqueArray(value, { minLength: 1, maxLength: 5, comparator: 'SameValueZero' })
    .map((values) => ({ enum: values })),
  value.map((only) => ({ const: only })),
);

const schema = fc.letrec<{ any: JsonObject; object: JsonObject }>((tie) => ({
  object: fc
    .tuple(
      fc.uniqueArray(word, { minLength: 1, maxLength: 4 }),
      fc.array(tie('any'), { minLength: 4, maxLength: 4 }),
      fc.nat(),
    )
    .map(([names, schemas, which]) => ({
      type: 'object',
      properties: Object.fromEntries(names.map((name, index) => [name, schemas[index]])),
      required: names.filter((_, index) => index === 0 || (which >> index) % 2 === 0),
      additionalProperties: false,
    })),
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    tie('object'),
    fc.tuple(tie('any'), count, count).map(([items, minItems, more]) => ({
      type: 'array',
      items,
      minItems,
      maxItems: minItems + more,
    })),
    fc.tuple(scalar, scalar).map(([a, b]) => ({ type: 'array', prefixItems: [a, b], items: false, minItems: 1 })),
    fc.tuple(scalar, tie('object')).map((branches) => ({ anyOf: branches })),
    fc.tuple(word, word, tie('any')).map(([a, b, each]) => ({
      oneOf: [a, `${b}_`].map((kind) => ({
        type: 'object',
        properties: { kind: { const: kind }, [kind]: each },
        required: ['kind'],
        additionalProperties: false,
      })),
    })),
    fc.tuple(word, number, string).map(([name, a, b]) => ({
      allOf: [{ type: 'object', properties: { [name]: a }, required: [name] }, { properties: { [`${name}_`]: b } }],
    })),
    fc.tuple(word, scalar).map(([name, each]) => ({
      type: 'object',
      properties: { [name]: { type: 'boolean' } },
      required: [name],
      additionalProperties: each,
    })),
    fc.constant({ $ref: '#/$defs/tree' }),
  ),
}));

const TREE = {
  type: 'object',
  properties: { leaf: { type: 'integer' }, left: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/tree' }] } },
  required: ['leaf', 'left'],
  additionalProperties: false,
};

/** Closed objects with required members. */
export const objectSchemas: fc.Arbitrary<JsonObject> = schema.object.map((object) => ({
  ...object,
  $defs: { tree: TREE },
}));

const matches = (pattern: RegExp) => (text: string) => pattern.test(text);
const isDay = (text: string) => matches(/^\d{4}-\d\d-\d\d$/u)(text) && isSame(`${text}T00:00:00.000Z`);
const isSame = (text: string) => !Number.isNaN(Date.parse(text)) && new Date(text).toISOString() === text;
const isTime = matches(/^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/u);

const ajv = new Ajv2020({
  strict: false,
  validateSchema: false,
  addUsedSchema: false,
  logger: false,
  code: { optimize: false },
});
ajv.addFormat('date', isDay);
ajv.addFormat('time', isTime);
ajv.addFormat('date-time', (text) => isDay(text.slice(0, 10)) && text[10] === 'T' && isTime(text.slice(11)));
ajv.addFormat('uuid', matches(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/iu));
ajv.addFormat('duration', matches(/^P(?!$)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?)$/u));
ajv.addFormat('ipv6', isIPv6);
ajv.addFormat('ipv4', (text) => new URL(`http://${text}/`).hostname === text);
ajv.addFormat('hostname', (text) => text.length <= 253 && new URL(`http://a.${text}.a/`).hostname === `a.${text}.a`);
ajv.addFormat('email', matches(/^[^\s@.]+(\.[^\s@.]+)*@[a-z\d](-*[a-z\d]+)*(\.[a-z\d](-*[a-z\d]+)*)*$/u));
ajv.addFormat('uri', (text) => URL.canParse(text) && matches(/^[\w:/?#[\]@!$&'()*+,;=.~%-]+$/u)(text));

/** A validator that follows the formats too. */
export function validatorOf(schema: JsonObject): ValidateFunction {
  return ajv.compile(schema);
}

/** What a text that was cut off had finished: without the member or item that it broke off in. */
export function finishedPart(text: string): unknown {
  const open: string[] = [];
  let kept = '';
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? '';
    if (isInString) {
      if (character === '\\') at++;
      else if (character === '"') isInString = false;
      continue;
    }
    if (character === '"') isInString = true;
    if (character === ',') kept = text.slice(0, at) + closing(open);
    if (character === '{' || character === '[') {
      open.push(character === '{' ? '}' : ']');
      kept = text.slice(0, at + 1) + closing(open);
    }
    if (character === '}' || character === ']') {
      open.pop();
      kept = text.slice(0, at + 1) + closing(open);
    }
  }
  return JSON.parse(kept);
}

function closing(open: readonly string[]): string {
  return [...open].reverse().join('');
}

/** The same schema for values of which a part is still missing. */
export function forPart(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(forPart);
  if (!isJsonObject(schema)) return schema;
  const { minItems: _, required: __, ...rest } = schema;
  return Object.fromEntries(
    Object.entries(rest).map(([key, each]) => [key, key === 'enum' || key === 'const' ? each : forPart(each)]),
  );
}
