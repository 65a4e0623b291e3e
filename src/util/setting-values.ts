import { z } from 'zod';

/** Kinds of values that settings have. In the file they have types; variables, flags and `config set` give a text. */

const MIN_MEMORY_GB = 0.25;
const MAX_MEMORY_GB = 4_096;

/** Variables and flags give digits as text. Nothing else is taken for a number: not an empty text, not `true`. */
export function wholeNumber(min: number, max: number) {
  const range = `must be a whole number from ${min} to ${max}`;
  const digits = z.string().regex(/^\d+$/u).transform(Number);
  return z.union([z.number(), digits], range).pipe(z.int(range).min(min, range).max(max, range));
}

export function text() {
  return z.string('must be a text').min(1, 'must not be empty');
}

/** Keys that came in clear could be anybody's. */
export function isKeyAddress(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname } = new URL(address);
  const here = ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
  return protocol === 'https:' || (protocol === 'http:' && here);
}

/** GB as a Mac counts its memory, 2^30 bytes. Fractions count. */
export function gigabytes() {
  const range = `must be a number of GB from ${MIN_MEMORY_GB} to ${MAX_MEMORY_GB}`;
  const digits = z
    .string()
    .regex(/^\d+(\.\d+)?$/u)
    .transform(Number);
  return z.union([z.number(), digits], range).pipe(z.number(range).min(MIN_MEMORY_GB, range).max(MAX_MEMORY_GB, range));
}

/** Variables, flags and `config set` give one text, parted by commas. */
export function nameList() {
  const parted = z.string().transform((text) => text.split(',').filter((name) => name !== ''));
  return z.union(
    [z.array(z.string().min(1, 'must not be empty')), parted],
    'must be a list of names like ["one", "other"]',
  );
}

export function flag(fallback: boolean) {
  const words = z.enum(['true', 'false']).transform((word) => word === 'true');
  return z.union([z.boolean(), words], 'must be true or false').default(fallback);
}
