/** String formats of JSON Schema as patterns. Each allows valid values only; of dates and times all but leap seconds, of
 *  the others the common forms. */

const LEAP = '(?:0[48]|[2468][048]|[13579][26])';
const DATE =
  '(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))' +
  `|(?:\\d\\d${LEAP}|(?:00|${LEAP})00)-02-29)`;
const HOUR_MINUTE = '(?:[01]\\d|2[0-3]):[0-5]\\d';
const TIME = `${HOUR_MINUTE}:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[-+]${HOUR_MINUTE})`;
const LABEL = '[a-z0-9](?:[-a-z0-9]{0,30}[a-z0-9])?';
const HOST = `${LABEL}(?:\\.${LABEL}){0,3}`;
const BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const GROUP = '[0-9a-fA-F]{1,4}';
const MAILBOX = '[A-Za-z0-9_+-]{1,15}';
const URI_CHARACTER = "(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})";
const TIME_PART = 'T(?:\\d{1,9}H(?:\\d{1,9}M)?(?:\\d{1,9}S)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S)';
const DAYS = '\\d{1,9}D';
const MONTHS = `\\d{1,9}M(?:${DAYS})?`;

const PATTERNS = {
  date: DATE,
  time: TIME,
  'date-time': `${DATE}T${TIME}`,
  duration: `P(?:\\d{1,9}W|(?:\\d{1,9}Y(?:${MONTHS})?|${MONTHS}|${DAYS})(?:${TIME_PART})?|${TIME_PART})`,
  uuid: '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}',
  email: `${MAILBOX}(?:\\.${MAILBOX}){0,3}@${HOST}`,
  hostname: HOST,
  ipv4: `${BYTE}(?:\\.${BYTE}){3}`,
  ipv6: `(?:${GROUP}:){7}${GROUP}|::(?:${GROUP}(?::${GROUP}){0,5})?|(?:${GROUP}:){1,6}:`,
  uri: `[a-z][a-z0-9+.-]{1,15}://${HOST}(?::\\d{1,4})?(?:[/?]${URI_CHARACTER}*)?(?:#${URI_CHARACTER}*)?`,
} as const;

export type StringFormat = keyof typeof PATTERNS;

export const STRING_FORMATS = Object.keys(PATTERNS);

export function isStringFormat(name: unknown): name is StringFormat {
  return typeof name === 'string' && Object.hasOwn(PATTERNS, name);
}

/** The pattern of all texts of a format that are written. */
export function formatPattern(format: StringFormat): string {
  return `^(?:${PATTERNS[format]})$`;
}
