import { z } from 'zod';
import { print } from './style.js';

/** The version of every `--json` output so far. */
export const SchemaVersion = z
  .literal(1)
  .describe('Goes up when a field goes, or changes its name, type or meaning; a new field does not raise it');

/** One line of JSON. Name the schema's type: `printJson<StatusOutput>(…)`. */
export function printJson<Output extends { schema_version: 1 }>(output: Output): void {
  print(jsonLine(output));
}

/** Control characters are escaped, also those that JSON would let through: DEL and C1. */
export function jsonLine(output: unknown): string {
  return JSON.stringify(output).replace(
    /\p{Cc}/gu,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
