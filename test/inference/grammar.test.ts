import fc from 'fast-check';
import { getLlama, type Llama } from 'node-llama-cpp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answerGrammar } from '../../src/inference/grammar/answer-grammar.js';
import { checkSchema } from '../../src/inference/grammar/check-schema.js';
import { GrammarRules } from '../../src/inference/grammar/rules.js';
import { MAX_MEMBERS, MAX_SCHEMA_DEPTH, MAX_SCHEMAS, MAX_VALUES } from '../../src/inference/grammar/schema-reader.js';
import type { JsonObject } from '../../src/inference/types.js';

/** What the runtime's own reading of a grammar says about texts. */

let llama: Llama;
beforeAll(async () => {
  llama = await getLlama({ build: 'never', skipDownload: true, gpu: false, progressLogs: false });
});
afterAll(() => llama.dispose());

async function readerOf(grammar: string): Promise<(text: string) => boolean> {
  const compiled = await llama.createGrammar({ grammar });
  const read = Reflect.get(compiled, '_testText') as (text: string) => boolean;
  return (text) => read.call(compiled, text);
}

async function schemaReader(schema: JsonObject) {
  const rules = new GrammarRules();
  return readerOf(rules.text(rules.schema(schema, 'schema')));
}

const closed = (properties: JsonObject, required = Object.keys(properties)) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});
const TREE = { type: 'object', properties: { next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } }, required: ['next'] };

describe('a schema', () => {
  test.each<[string, JsonObject, string[], string[]]>([
    ['type', { type: 'boolean' }, ['true', 'false'], ['null', '"true"', 'True', '']],
    ['a list of types', { type: ['integer', 'null'] }, ['-7', 'null'], ['1.5', '"1"']],
    ['nullable', { type: 'string', nullable: true }, ['null', '"a"'], ['1']],
    ['no type', {}, ['1', '{"a":[1,{"b":null}]}', '"x"', '[]'], ['{', "'a'"]],
    ['integer', { type: 'integer' }, ['0', '-12', '999999999999999'], ['01', '1.0', '1e3', '1000000000000000']],
    [
      'integer as zod has it',
      { type: 'integer', minimum: -(2 ** 53 - 1), maximum: 2 ** 53 - 1 },
      ['0', '-999999999999999'],
      ['1e3'],
    ],
    [
      'bounds far away',
      { type: 'number', minimum: -3e38, exclusiveMaximum: 3e38 },
      ['-1.5', '999999999999999'],
      ['1e40'],
    ],
    ['a bound far away', { type: 'integer', minimum: 1, maximum: 2 ** 60 }, ['1', '999999999999999'], ['0', '-1']],
    ['number', { type: 'number' }, ['0', '-1.50', '2e10', '1.5E-3'], ['.5', '1.', '+1', 'NaN', '1e400']],
    ['number bounds', { type: 'number', minimum: 0, maximum: 1 }, ['0', '0.5', '1', '1.0'], ['-0.1', '1.1', '2']],
    ['exclusive', { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 2 }, ['0.1', '1.999'], ['0', '0.0', '2']],
    ['length', { type: 'string', minLength: 2, maxLength: 3 }, ['"ab"', '"äöü"', '"\\u0041\\n"'], ['"a"', '"abcd"']],
    ['escapes', { type: 'string' }, ['"\\"\\\\\\/\\u00e9"', '"😀"'], ['"\\ud83d"', '"\\x"', '"\n"', '"a']],
    ['long strings', { type: 'string', minLength: 65, maxLength: 200 }, [q(65), q(128), q(200)], [q(64), q(201)]],
    ['enum', { enum: ['a', 'ab', 3, null, ['x']] }, ['"a"', '"ab"', '3', 'null', '["x"]'], ['"b"', '"abc"', '33']],
    ['enum beside type', { type: 'string', enum: ['a', 1] }, ['"a"'], ['1']],
    ['const', { const: { a: 'é"' } }, ['{"a":"é\\""}'], ['{"a":"e"}']],
    [
      'date',
      { type: 'string', format: 'date' },
      ['"2024-02-29"', '"2000-02-29"', '"2023-12-31"'],
      ['"2023-02-29"', '"1900-02-29"', '"2023-04-31"', '"2023-13-01"'],
    ],
    ['time', { type: 'string', format: 'time' }, ['"23:59:59Z"', '"00:00:00.5+01:30"'], ['"24:00:00Z"', '"10:00:00"']],
    [
      'uuid',
      { format: 'uuid' },
      ['"00000000-0000-0000-0000-00000000000f"'],
      ['"00000000-0000-0000-0000-00000000000g"'],
    ],
    ['ipv4', { type: 'string', format: 'ipv4' }, ['"255.0.10.1"'], ['"256.0.0.1"', '"1.2.3"']],
    ['email', { type: 'string', format: 'email' }, ['"a.b@example.com"'], ['"a@"', '"@b"']],
    ['ipv6', { format: 'ipv6' }, ['"::1"', '"fe80:0:0:0:0:0:0:1"', '"1:2::"'], ['"1:2:3"', '":::"', '"g::"']],
    ['duration', { format: 'duration' }, ['"P1Y2M3DT4H5M6S"', '"PT5S"', '"P2W"'], ['"P"', '"PT"', '"P1S"', '"P1Y1W"']],
    [
      'pattern',
      { type: 'string', pattern: '^[a-c"\\\\\\n]+$|^é{2,3}x?$' },
      ['"ab"', '"\\"\\\\\\n"', '"éé"', '"éééx"'],
      ['""', '"d"', '"é"', '"ab\n"', '"\\u0061"', '"aé"'],
    ],
    [
      'pattern anywhere',
      { type: 'string', pattern: 'b.?d' },
      ['"abcde"', '"bd"', '"\\tbxd\\""'],
      ['"bxxd"', '"b"', '"d'],
    ],
    [
      'pattern and length',
      { pattern: '^a*$', minLength: 2, maxLength: 3 },
      ['"aa"', '"aaa"'],
      ['"a"', '"aaaa"', '"bb"'],
    ],
    ['pattern and format', { format: 'ipv4', pattern: '1$' }, ['"10.0.0.1"'], ['"10.0.0.2"', '"1"']],
    [
      'two patterns',
      { allOf: [{ pattern: 'a' }, { pattern: 'b$' }], type: 'string' },
      ['"ab"', '"bab"'],
      ['"ba"', '"b"'],
    ],
    ['uri', { type: 'string', format: 'uri' }, ['"https://example.com/a?b=%20#c"'], ['"example.com"', '"a b://c"']],
    [
      'closed objects',
      closed({ a: { type: 'integer' }, b: { type: 'null' } }),
      ['{"a":1,"b":null}', '{ "a": 1,\n  "b": null\n}'],
      ['{"a":1}', '{"b":null,"a":1}', '{"a":1,"b":null,"c":1}', '{"a":1,"b":null,}'],
    ],
    [
      'optional members',
      closed({ a: true, b: true, c: true }, ['b']),
      ['{"b":1}', '{"a":1,"b":1,"c":1}', '{"b":1,"c":1}'],
      ['{}', '{"a":1}', '{"c":1,"b":1}', '{,"b":1}'],
    ],
    ['no member at all', closed({ a: true }, []), ['{}', '{ }', '{"a":1}'], ['{"b":1}', '{"a":1,"a":1}']],
    [
      'open objects',
      { type: 'object', properties: { a: { type: 'integer' } }, additionalProperties: { type: 'boolean' } },
      ['{}', '{"a":1,"ab":true,"":false}', '{"b":true}'],
      ['{"a":1,"a":true}', '{"b":1}', '{"\\u0061":true}'],
    ],
    ['objects of any kind', { type: 'object' }, ['{}', '{"a":{"b":[]}}'], ['[]', '{a:1}']],
    ['objects without a word about others', { properties: { a: { type: 'integer' } } }, ['{}', '{"a":1}'], ['{"b":1}']],
    ['required but not described', { type: 'object', required: ['a'] }, ['{"a":[1]}'], ['{}']],
    [
      'lists',
      { type: 'array', items: { type: 'integer' }, minItems: 1, maxItems: 3 },
      ['[1]', '[1, 2,3]'],
      ['[]', '[1,2,3,4]', '["a"]', '[1,]'],
    ],
    ['empty lists', { type: 'array', maxItems: 0 }, ['[]', '[ ]'], ['[1]']],
    ['lists of any length', { type: 'array', items: { type: 'null' } }, ['[]', `[${'null,'.repeat(50)}null]`], ['[1]']],
    [
      'prefixItems',
      { prefixItems: [{ type: 'integer' }, { type: 'null' }], items: { type: 'boolean' }, minItems: 1 },
      ['[1]', '[1,null]', '[1,null,true,false]'],
      ['[]', '[null]', '[1,true]'],
    ],
    [
      'prefixItems alone',
      { type: 'array', prefixItems: [{ type: 'integer' }], items: false },
      ['[]', '[1]'],
      ['[1,2]'],
    ],
    [
      'prefixItems cut by maxItems',
      { type: 'array', prefixItems: [true, true, true], maxItems: 2 },
      ['[1,2]'],
      ['[1,2,3]'],
    ],
    ['anyOf', { anyOf: [{ type: 'integer' }, closed({ a: true })] }, ['1', '{"a":1}'], ['"a"']],
    [
      'anyOf beside more',
      {
        type: 'object',
        properties: { a: { type: 'integer' }, b: { type: 'integer' } },
        anyOf: [{ required: ['a'] }, { required: ['b'] }],
      },
      ['{"a":1}', '{"b":1}', '{"a":1,"b":2}'],
      ['{}'],
    ],
    [
      'oneOf with a mark',
      { oneOf: [closed({ kind: { const: 'a' }, x: true }), closed({ kind: { const: 'b' } })] },
      ['{"kind":"a","x":1}', '{"kind":"b"}'],
      ['{"kind":"b","x":1}', '{"kind":"c"}'],
    ],
    [
      'allOf',
      {
        allOf: [{ $ref: '#/$defs/a' }, { properties: { b: { maximum: 3 } }, required: ['b'] }],
        $defs: { a: { type: 'object', properties: { b: { type: 'integer', minimum: 2 } } } },
      },
      ['{"b":2}', '{"b":3}'],
      ['{}', '{"b":1}', '{"b":4}'],
    ],
    [
      '$ref',
      closed({ a: { $ref: '#/$defs/x~1y' } }) && {
        ...closed({ a: { $ref: '#/$defs/x~1y' } }),
        $defs: { 'x/y': { type: 'null' } },
      },
      ['{"a":null}'],
      ['{"a":1}'],
    ],
    ['recursion', TREE, ['{"next":null}', '{"next":{"next":{"next":null}}}'], ['{"next":1}', '{}']],
    [
      'annotations',
      { title: 'T', description: 'd', default: 1, examples: [2], 'x-more': {}, type: 'integer' },
      ['5'],
      ['"5"'],
    ],
    ['false', closed({ a: false, b: { type: 'null' } }, ['b']), ['{"b":null}'], ['{"a":1,"b":null}']],
  ])('with %s allows what it allows, and nothing else', async (_, schema, allowed, forbidden) => {
    const isAllowed = await schemaReader(schema);
    expect(allowed.filter((text) => !isAllowed(text))).toEqual([]);
    expect(forbidden.filter((text) => isAllowed(text))).toEqual([]);
  });

  test('with bounds on whole numbers allows exactly those between them', async () => {
    const bound = fc.oneof(fc.integer({ min: -1_200, max: 1_200 }), fc.integer({ min: -(10 ** 14), max: 10 ** 14 }));
    await fc.assert(
      fc.asyncProperty(bound, bound, fc.array(bound, { minLength: 8, maxLength: 8 }), async (a, b, others) => {
        const [minimum, maximum] = [Math.min(a, b), Math.max(a, b)];
        const isAllowed = await schemaReader({ type: 'integer', minimum, maximum });
        const edges = [minimum, maximum].flatMap((edge) => [edge - 1, edge, edge + 1]);
        for (const value of [...edges, ...others, ...others.map((other) => Math.round((a + b) / 2) + (other % 100))])
          expect(isAllowed(String(value))).toBe(minimum <= value && value <= maximum);
      }),
      { numRuns: 60, seed: 3 },
    );
  });
});

function q(length: number): string {
  return JSON.stringify('x'.repeat(length));
}

const nested = (depth: number): JsonObject => (depth === 0 ? {} : { type: 'array', items: nested(depth - 1) });
const many = (count: number, each: (index: number) => unknown) =>
  Array.from({ length: count }, (_, index) => each(index));
const named = (count: number, each: unknown) =>
  Object.fromEntries(many(count, (index) => [`p${index}`, each]) as [string, unknown][]);

test.each<[string, JsonObject, string]>([
  ['a pattern that looks back', closed({ a: { pattern: '(?<=a)b' } }), "'s.properties.a.pattern': looks back"],
  ['not', { not: {} }, "'s.not': is not supported."],
  ['multipleOf', { type: 'array', items: { multipleOf: 2 } }, "'s.items.multipleOf': is not supported."],
  ['uniqueItems', { type: 'array', uniqueItems: true }, "'s.uniqueItems': is not supported."],
  ['patternProperties', { patternProperties: {} }, "'s.patternProperties': is not supported."],
  ['a word of no schema', { maximumLength: 3 }, "'s.maximumLength': is not supported."],
  ['an unknown type', { type: 'text' }, "'s.type': must be one or several of object, array"],
  ['an unknown format', { type: 'string', format: 'iri' }, "'s.format': must be one of date, time"],
  ['a fraction as a bound', { type: 'number', minimum: 0.5 }, "'s.minimum': must be a whole number from"],
  ['a reference elsewhere', { $ref: 'https://example.com/s' }, "'s.$ref': must name a place in the same schema"],
  ['a reference to nothing', { $ref: '#/$defs/a' }, "'s.$ref': names no place in the schema."],
  ['a reference to itself', { $ref: '#' }, "'s': allows no finite value."],
  [
    'a circle of references',
    { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } },
    'allows no finite value.',
  ],
  ['a circle through anyOf', { anyOf: [{ type: 'null' }, { $ref: '#' }] }, "'s': leads back to itself."],
  ['a circle through allOf', { type: 'object', allOf: [{ $ref: '#' }] }, 'leads back to itself.'],
  ['no finite value', closed({ a: { $ref: '#' } }), "'s': allows no finite value."],
  ['no value', { type: 'integer', minimum: 3, maximum: 2 }, "'s': allows no number."],
  ['no number that is written', { type: 'integer', minimum: 1e16 }, "'s.minimum': must be a number from"],
  ['no value in a member', closed({ a: { enum: [] } }), 'allows no finite value.'],
  [
    'required but forbidden',
    { ...closed({}), required: ['a'] },
    "'s.required': names a property that additionalProperties forbids.",
  ],
  [
    'members of two closed objects',
    { allOf: [closed({ a: true }), closed({ b: true })] },
    "'s.additionalProperties': cannot be combined",
  ],
  [
    'branches that may both fit',
    { oneOf: [{ type: 'number' }, { type: 'integer' }] },
    "'s.oneOf': has branches that may both fit; use anyOf.",
  ],
  ['lengths that cannot be', { type: 'string', minLength: 3, maxLength: 2 }, "'s.maxLength': is less than minLength."],
  ['a count that is none', { type: 'array', minItems: -1 }, "'s.minItems': must be a whole number of 0 or more."],
  ['a schema that is none', { items: 3, type: 'array' }, "'s.items': must be an object or a boolean."],
  ['great depth', nested(MAX_SCHEMA_DEPTH + 1), `schemas may be nested ${MAX_SCHEMA_DEPTH} deep at most.`],
  [
    'many schemas',
    closed(named(MAX_MEMBERS, closed(named(16, {})))),
    `there may be ${MAX_SCHEMAS} schemas in one at most.`,
  ],
  ['many members', closed(named(MAX_MEMBERS + 1, {})), `'s.properties': may be ${MAX_MEMBERS} at most.`],
  ['many values', { enum: many(MAX_VALUES + 1, String) }, `'s.enum': may have ${MAX_VALUES} values at most.`],
  ['long counts', { type: 'string', maxLength: 10 ** 6 }, "'s.maxLength': may be 32000 at most."],
  [
    'many long counts',
    closed(
      Object.fromEntries(
        many(250, (at) => [`p${String(at)}`, { type: 'string', maxLength: 31_000 - Number(at) }]) as [
          string,
          unknown,
        ][],
      ),
    ),
    'has bounds on lengths that are too large together.',
  ],
  [
    'alternatives that double',
    {
      $ref: '#/$defs/d0',
      $defs: Object.fromEntries(
        many(12, (at) => [
          `d${String(at)}`,
          { anyOf: [{ $ref: `#/$defs/d${Number(at) + 1}` }, { $ref: `#/$defs/d${Number(at) + 1}` }] },
        ]).concat([['d12', { type: 'string' }]]) as [string, unknown][],
      ),
    },
    'has more than 256 alternatives.',
  ],
  [
    'ways that double at each level',
    {
      anyOf: [
        { type: 'array', items: { $ref: '#' }, maxItems: 5 },
        { type: 'array', items: { $ref: '#' }, maxItems: 6 },
      ],
    },
    'alternatives that begin alike',
  ],
  [
    'objects that are told apart late',
    {
      anyOf: [
        closed({ a: { $ref: '#' }, k: { const: 1 } }, ['k']),
        closed({ a: { $ref: '#' }, k: { const: 2 } }, ['k']),
      ],
    },
    'alternatives that begin alike',
  ],
  [
    'allOf that doubles',
    {
      $ref: '#/$defs/d0',
      $defs: Object.fromEntries([
        ...many(40, (at) => [
          `d${String(at)}`,
          { allOf: [{ $ref: `#/$defs/d${Number(at) + 1}` }, { $ref: `#/$defs/d${Number(at) + 1}` }] },
        ]),
        ['d40', { type: 'string' }],
      ] as [string, unknown][]),
    },
    `there may be ${MAX_SCHEMAS} schemas in one at most.`,
  ],
])('a schema with %s is refused by name', (_, schema, message) => {
  let error: unknown;
  try {
    checkSchema(schema, 's');
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toMatchObject({
    code: 'unprocessable',
    status: 422,
    param: 's',
    message: expect.stringContaining(message) as string,
  });
});

test('objects that a first member tells apart may contain each other', async () => {
  const branch = (kind: string) => closed({ kind: { const: kind }, left: { $ref: '#' }, right: { $ref: '#' } });
  const isAllowed = await schemaReader({ anyOf: [closed({ kind: { const: 'leaf' } }), branch('add'), branch('mul')] });
  const leaf = '{"kind":"leaf"}';
  expect(isAllowed(`{"kind":"add","left":${leaf},"right":{"kind":"mul","left":${leaf},"right":${leaf}}}`)).toBe(true);
  expect(isAllowed(`{"kind":"leaf","left":${leaf},"right":${leaf}}`)).toBe(false);
});

test('an answer in JSON is one object, and its blanks have a bound', async () => {
  const isAllowed = await readerOf(answerGrammar({ type: 'json' }) ?? '');
  expect(isAllowed('{"a": [1, {"b": "c"}]}')).toBe(true);
  for (const text of ['[1]', '"a"', ' {}', '{} ', `{${' '.repeat(40)}}`]) expect(isAllowed(text)).toBe(false);
  expect(answerGrammar({ type: 'text' })).toBeUndefined();
});

test('rules can be put together: what is the same stands once, and any name will do', async () => {
  const rules = new GrammarRules();
  const call = rules.add(
    'call "of" a tool',
    `"<call>" ${rules.schema(closed({ a: { type: 'integer' } }), 'a')} "</call>"`,
  );
  const again = rules.schema(closed({ a: { type: 'integer' } }), 'b');
  expect(rules.add('other', `"<call>" ${again} "</call>"`)).toBe(call);
  const isAllowed = await readerOf(rules.text(rules.add('calls', `${call} ${call}?`)));
  expect(isAllowed('<call>{"a":1}</call><call>{"a":2}</call>')).toBe(true);
  expect(isAllowed('<call>{"a":"1"}</call>')).toBe(false);
});
