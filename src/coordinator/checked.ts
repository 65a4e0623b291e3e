import type { z } from 'zod';
import { DarkbloomError } from '../errors.js';

/** The longest name of an unknown field that an error repeats. */
const MAX_FIELD_CHARACTERS = 60;

/** What a schema makes of a body that came from outside.
 *  @throws DarkbloomError `bad_request` naming the first field that is wrong, never its value. */
export function checked<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : (issue?.path ?? []);
  const [field] = path;
  const name = path.join('.').slice(0, MAX_FIELD_CHARACTERS);
  const what = issue?.code === 'unrecognized_keys' ? 'there is no such field' : (issue?.message ?? 'invalid');
  throw new DarkbloomError('bad_request', `'${name === '' ? 'body' : name}': ${what}.`, {
    ...(field === undefined ? {} : { param: field.toString().slice(0, MAX_FIELD_CHARACTERS) }),
  });
}
