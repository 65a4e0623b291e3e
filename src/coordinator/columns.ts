import { z } from 'zod';

/** A count, a size or a time: SQLite's integers arrive as BigInt, and these fit a number. Money stays a BigInt. */
export const wholeNumber = z.bigint().transform(Number);

/** 0 or 1. */
export const flag = z.bigint().transform((value) => value === 1n);

/** A column that may be NULL: `undefined` inside the program. */
export function optional<T extends z.ZodType>(column: T) {
  return column.nullable().transform((value) => value ?? undefined);
}

/** Text that holds JSON of one shape. */
export function json<T extends z.ZodType>(content: T) {
  return z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(content);
}
