import type { JsonObject } from '../types.js';
import type { GrammarRules } from './rules.js';
import { SchemaReader } from './schema-reader.js';
import { checkShape } from './shape-checks.js';
import { ShapeRules } from './shape-rules.js';

/** Adds rules for the JSON values that a schema allows; returns the first one's name. */
export function addSchema(rules: GrammarRules, schema: JsonObject, path: string): string {
  const reader = new SchemaReader(schema, path, rules.texts);
  const shape = reader.read();
  checkShape(shape, reader.exclusives, path);
  return new ShapeRules(rules, path).rule(shape);
}
