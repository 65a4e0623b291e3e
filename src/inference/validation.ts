import type { z } from 'zod';
import { DarkbloomError, type ErrorCode } from '../errors.js';

/** The longest name of an unknown field that an error repeats. */
const MAX_FIELD_CHARACTERS = 60;

/** Parses a body from outside.
 *  @throws DarkbloomError `code` with `param`: the top-level field that is wrong. The message names the field, the limit
 *  and the kind or size of the value, never the value. */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown, code: ErrorCode = 'invalid_request'): T {
  const parsed = schema.safeParse(body, { error: ruleOf });
  if (parsed.success) return parsed.data;
  const issue = deepestIssue(parsed.error.issues);
  const path = issue?.path.map(String) ?? [];
  if (issue?.code === 'invalid_key') path.pop(); // what stands there in a name's place is the client's own text
  if (issue?.code === 'unrecognized_keys') {
    const field = [...path, issue.keys[0]?.slice(0, MAX_FIELD_CHARACTERS) ?? ''];
    throw new DarkbloomError(code, `'${field.join('.')}': there is no such field.`, { param: field[0] ?? '' });
  }
  throw refusedField(body, path, issue?.message ?? 'invalid', code);
}

/** The refusal of one field of a body, with the limit that it breaks. */
export function refusedField(
  body: unknown,
  path: readonly string[],
  limit: string,
  code: ErrorCode = 'invalid_request',
): DarkbloomError {
  const [param] = path;
  const field = param === undefined ? 'The body' : `'${path.join('.')}'`;
  const message = `${field}: ${limit}; got ${kindOf(valueAt(body, path))}.`;
  return new DarkbloomError(code, message, param === undefined ? {} : { param });
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'an object',
  record: 'an object',
  array: 'a list',
  string: 'a string',
  number: 'a number',
  boolean: 'a boolean',
};

/** Our words for the rule that a value breaks, where the schema has none of its own. */
function ruleOf(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type': {
      const kind = issue.expected === 'int' ? 'a whole number' : KINDS[issue.expected];
      return kind === undefined ? undefined : `must be ${kind}`;
    }
    case 'too_small':
      return limitOf(issue.origin, 'at least', issue.minimum);
    case 'too_big':
      return limitOf(issue.origin, 'at most', issue.maximum);
    case 'invalid_value':
      return `must be ${issue.values
        .map(String)
        .join(', ')
        .replace(/, ([^,]+)$/u, ' or $1')}`;
    default:
      return undefined;
  }
}

function limitOf(origin: string, which: string, limit: number | bigint): string {
  if (origin === 'string') return `must have ${which} ${limit} characters`;
  return origin === 'array' ? `must have ${which} ${limit} entries` : `must be ${which} ${limit}`;
}

/** Of a union's branches, the issue that went furthest says best what is wrong; at the same place, the one of the
 *  branch that takes values of this kind. */
function deepestIssue(
  issues: readonly z.core.$ZodIssue[],
  base: readonly PropertyKey[] = [],
): z.core.$ZodIssue | undefined {
  const all = issues.map((issue) => {
    const path = [...base, ...issue.path];
    const inner = issue.code === 'invalid_union' ? deepestIssue(issue.errors.flat(), path) : undefined;
    return inner !== undefined && (inner.path.length > path.length || isOfRightKind(inner))
      ? inner
      : { ...issue, path };
  });
  return all.sort((a, b) => b.path.length - a.path.length || Number(isOfRightKind(b)) - Number(isOfRightKind(a)))[0];
}

function isOfRightKind(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'too_small' || issue.code === 'too_big';
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
  if (typeof value === 'number') {
    if (value < 0) return 'a negative number';
    return Number.isInteger(value) ? 'a whole number' : 'a number with a fraction';
  }
  if (typeof value === 'boolean') return 'a boolean';
  return 'an object';
}
