import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { PACKAGE_ROOT } from '../../src/util/version.js';

const FOLDER = join(PACKAGE_ROOT, 'docs/schemas');

/** The tool is plain JavaScript and works on dist/, which `npm test` builds first. */
const Tool = z.object({ outputSchemas: z.custom<() => unknown>((value) => typeof value === 'function') });
const { outputSchemas } = Tool.parse(await import(pathToFileURL(join(PACKAGE_ROOT, 'tools/output-schemas.mjs')).href));
const generated = z.record(z.string(), z.string()).parse(outputSchemas());

describe('docs/schemas', () => {
  test('is what the schemas say now; `npm run docs` writes it', () => {
    const published = readdirSync(FOLDER).map((name) => [name, readFileSync(join(FOLDER, name), 'utf8')]);
    expect(Object.fromEntries(published)).toEqual(generated);
  });

  test.each(Object.entries(generated))('%s describes every field', (_, text) => {
    expect(fieldsWithoutDescription(JSON.parse(text), '')).toEqual([]);
  });
});

const Node = z.looseObject({
  description: z.string().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  items: z.unknown().optional(),
  anyOf: z.array(z.unknown()).optional(),
});

/** Their paths: what a reader would have to guess. */
function fieldsWithoutDescription(schema: unknown, path: string): string[] {
  const { properties = {}, items, anyOf = [] } = Node.parse(schema);
  const inFields = Object.entries(properties).flatMap(([name, field]) => {
    const here = `${path}.${name}`;
    const missing = Node.parse(field).description === undefined ? [here] : [];
    return [...missing, ...fieldsWithoutDescription(field, here)];
  });
  const inItems = items === undefined ? [] : fieldsWithoutDescription(items, `${path}[]`);
  return [...inFields, ...inItems, ...anyOf.flatMap((each) => fieldsWithoutDescription(each, path))];
}
