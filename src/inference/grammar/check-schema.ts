import type { JsonObject } from '../types.js';
import { GrammarRules } from './rules.js';

/** Refuses a schema that answers cannot be held to. Done where a request comes in, before anything else is.
 *  `path`: where the schema stands in the request.
 *  @throws DarkbloomError `unprocessable` naming the keyword and its place. */
export function checkSchema(schema: JsonObject, path: string): void {
  new GrammarRules().schema(schema, path);
}
