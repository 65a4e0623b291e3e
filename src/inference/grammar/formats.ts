/** String formats of JSON Schema in GBNF, with the quotes. Each allows valid values only; of dates and times all but
 *  leap seconds, of the others the common forms. */

const LEAP = '("0" [48] | [2468] [048] | [13579] [26])';
const LEAP_YEAR = `([0-9]{2} ${LEAP} | ("00" | ${LEAP}) "00")`;
const DATE = `([0-9]{4} "-" (("01" | "03" | "05" | "07" | "08" | "10" | "12") "-" ("0" [1-9] | [12] [0-9] | "3" [01])
  | ("04" | "06" | "09" | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))
  | ${LEAP_YEAR} "-02-29")`.replaceAll(/\s+/gu, ' ');
const HOUR_MINUTE = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]';
const TIME = `${HOUR_MINUTE} ":" [0-5] [0-9] ("." [0-9]{1,9})? ("Z" | [-+] ${HOUR_MINUTE})`;
const HEX = '[0-9a-fA-F]';
const LABEL = '[a-z0-9] ([-a-z0-9]{0,59} [a-z0-9])?';
const HOST = `${LABEL} ("." ${LABEL}){0,3}`;
const BYTE = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9]{2} | [1-9] [0-9] | [0-9])';
const MAILBOX = '[A-Za-z0-9_+-]{1,15}';
const URI_CHARACTER = `([A-Za-z0-9._~!$&'()*+,;=:@/?-] | "%" ${HEX}{2})`;

const BODIES = {
  date: DATE,
  time: TIME,
  'date-time': `${DATE} "T" ${TIME}`,
  uuid: `${HEX}{8} "-" ${HEX}{4} "-" ${HEX}{4} "-" ${HEX}{4} "-" ${HEX}{12}`,
  email: `${MAILBOX} ("." ${MAILBOX}){0,3} "@" ${HOST}`,
  hostname: HOST,
  ipv4: `${BYTE} ("." ${BYTE}){3}`,
  uri: `[a-z] [a-z0-9+.-]{1,15} "://" ${HOST} (":" [0-9]{1,4})? ([/?] ${URI_CHARACTER}*)? ("#" ${URI_CHARACTER}*)?`,
} as const;

export type StringFormat = keyof typeof BODIES;

export const STRING_FORMATS = Object.keys(BODIES);

export function isStringFormat(name: unknown): name is StringFormat {
  return typeof name === 'string' && Object.hasOwn(BODIES, name);
}

export function formatBody(format: StringFormat): string {
  return `"\\"" ${BODIES[format]} "\\""`;
}
