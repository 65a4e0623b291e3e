import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type AnySchemaObject } from 'ajv/dist/2020.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';

/** What a stranger's validator says of a value against a file of docs/schemas: nothing, when it is as published. */
export function problemsWith(value: unknown, file: string): string[] {
  const schema = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'docs/schemas', file), 'utf8')) as AnySchemaObject;
  const validate = new Ajv2020({ allErrors: true, formats: { uri: true, date: true, 'date-time': true } }).compile(
    schema,
  );
  if (validate(value) === true) return [];
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`);
}
