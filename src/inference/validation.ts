import type { z } from 'zod';
import { DarkbloomError } from '../errors.js';

/** Parses a body from outside.
 *  @throws DarkbloomError `invalid_request` with `param`: the top-level field that is wrong. The message names the
 *  field, the limit and the kind or size of the value, never the value. */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = deepestIssue(parsed.error.issues);
  const path = issue?.path.map(String) ?? [];
  const field = path.join('.');
  const message = `${field === '' ? 'The body' : `'${field}'`}: ${issue?.message ?? 'invalid'}; got ${kindOf(valueAt(body, path))}.`;
  throw new DarkbloomError('invalid_request', message, path[0] === undefined ? {} : { param: path[0] });
}

/** Of a union's branches, the issue that went furthest says best what is wrong. */
function deepestIssue(issues: readonly z.core.$ZodIssue[], base: readonly PropertyKey[] = []): z.core.$ZodIssue | undefined {
  const all = issues.map((issue) => {
    const path = [...base, ...issue.path];
    const inner = issue.code === 'invalid_union' ? deepestIssue(issue.errors.flat(), path) : undefined;
    return inner !== undefined && inner.path.length > path.length ? inner : { ...issue, path };
  });
  return all.sort((a, b) => b.path.length - a.path.length)[0];
}

function valueAt(body: unknown, path: readonly string[]): unknown {
  let value = body;
  for (const key of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return value;
}

/** The kind and size of a value, safe to print. */
function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (typeof value === 'string') return `a string of ${value.length} characters`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'number') return `the number ${value}`;
  if (typeof value === 'boolean') return String(value);
  return 'an object';
}
