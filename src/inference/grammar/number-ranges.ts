/** Decimal numbers between two bounds, in GBNF. */

/** Whole numbers of more digits are not told apart by those who read JSON into doubles. */
export const MAX_INTEGER_DIGITS = 15;
export const LARGEST_INTEGER = 10 ** MAX_INTEGER_DIGITS - 1;
/** From there on a bound that is no member itself could be reached by rounding. */
export const LARGEST_NUMBER_BOUND = 10 ** 9;
const FRACTION_DIGITS = 6;

export interface Bound {
  /** A whole number. */
  value: number;
  exclusive: boolean;
}

/** Whole numbers from `min` to `max`, both included and of at most 15 digits. `undefined`: there is none. */
export function integersBetween(min: number, max: number): string | undefined {
  return either([
    ...(min < 0 ? signed(magnitudes(Math.max(1, -max), -min)) : []),
    ...(max >= 0 ? magnitudes(Math.max(0, min), max) : []),
  ]);
}

/** Numbers with at most six digits behind the point. `undefined`: there is none. */
export function numbersBetween(min: Bound | undefined, max: Bound | undefined): string | undefined {
  const from = min ?? { value: -LARGEST_INTEGER, exclusive: false };
  const to = max ?? { value: LARGEST_INTEGER, exclusive: false };
  const zero = { value: 0, exclusive: false };
  const aboveZero = { value: 0, exclusive: true }; // 0 has no sign
  return either([
    ...(from.value < 0 ? signed(decimals(to.value < 0 ? negated(to) : aboveZero, negated(from))) : []),
    ...(to.value >= 0 ? decimals(from.value < 0 ? zero : from, to) : []),
  ]);
}

function negated({ value, exclusive }: Bound): Bound {
  return { value: -value, exclusive };
}

function signed(ways: readonly string[]): string[] {
  return ways.map((way) => `"-" ${way}`);
}

function either(ways: readonly string[]): string | undefined {
  return ways.length === 0 ? undefined : `(${ways.join(' | ')})`;
}

/** Numbers without a sign. */
function decimals(min: Bound, max: Bound): string[] {
  if (min.value > max.value) return [];
  const end = max.exclusive ? [] : [`${digits(max.value)} ("." "0"{1,${FRACTION_DIGITS}})?`];
  if (min.value === max.value) return min.exclusive ? [] : end;
  const fraction = `"." [0-9]{1,${FRACTION_DIGITS}}`;
  const begin = min.exclusive
    ? `${digits(min.value)} "." [0-9]{0,${FRACTION_DIGITS - 1}} [1-9]`
    : `${digits(min.value)} (${fraction})?`;
  const between = either(magnitudes(min.value + 1, max.value - 1));
  return [begin, ...(between === undefined ? [] : [`${between} (${fraction})?`]), ...end];
}

/** Whole numbers without a sign, by their number of digits. */
function magnitudes(min: number, max: number): string[] {
  if (min > max) return [];
  const lengths = String(max).length - String(min).length;
  return Array.from({ length: lengths + 1 }, (_, index) => {
    const length = String(min).length + index;
    const first = index === 0 ? String(min) : String(10 ** (length - 1));
    const last = index === lengths ? String(max) : '9'.repeat(length);
    return sameLength(first, last);
  });
}

function sameLength(min: string, max: string): string {
  if (min === '') return '';
  if (/^0*$/u.test(min) && /^9*$/u.test(max)) return `[0-9]{${min.length}}`;
  const [first, last] = [Number(min[0]), Number(max[0])];
  const rest = min.length - 1;
  if (first === last) return `"${first}" ${sameLength(min.slice(1), max.slice(1))}`.trimEnd();
  const low = /^0*$/u.test(min.slice(1)) ? first : first + 1;
  const high = /^9*$/u.test(max.slice(1)) ? last : last - 1;
  const ways = [
    ...(low > first ? [`"${first}" ${sameLength(min.slice(1), '9'.repeat(rest))}`] : []),
    ...(low <= high ? [`[${low}-${high}]${rest === 0 ? '' : ` [0-9]{${rest}}`}`] : []),
    ...(high < last ? [`"${last}" ${sameLength('0'.repeat(rest), max.slice(1))}`] : []),
  ];
  return `(${ways.join(' | ')})`;
}

function digits(value: number): string {
  return `"${value}"`;
}
