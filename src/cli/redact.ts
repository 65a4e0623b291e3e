import { isIPv4 } from 'node:net';

/** Takes out of texts what is private or secret. What is known is taken out by its value, the rest by its form. Pure. */

/** What is known of this machine and its owner. */
export interface Private {
  /** Contents of the secret files. */
  secrets: readonly string[];
  /** Paths of the owner's model files. */
  modelFiles: readonly string[];
  /** Home folder of the user, shown as `~`. */
  userHome: string;
  /** Folder of this installation. */
  providerHome: string;
  userName: string;
  hostName: string;
}

export type Redact = (text: string) => string;

const SECRET = '[secret]';

type Rule = readonly [form: RegExp, shown: string | ((found: string) => string)];

/** Forms of secrets, of those that this program makes and of others. */
const TOKENS: readonly Rule[] = [
  [/(?<=:\/\/)[^\s/@]+@/gu, `${SECRET}@`], // a login in an address
  [/(?<=:\/\/[^\s"'`?]*)\?[^\s"'`)]+/gu, '?[query]'],
  [/(?:sk|hf|ghp|gho|github_pat|xox[abp]|dk-local|db-login|eigeninference-pt)[-_][\w.-]{6,}/giu, SECRET],
  [/(?<=\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}/giu, SECRET],
  [/\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?/gu, SECRET], // JSON Web Tokens
  [/-----BEGIN [^-]*-----[\s\S]*?(?:-----END [^-]*-----|$)/gu, SECRET],
  [/\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/giu, '[id]'],
  [/[0-9a-f]{24,}/giu, '[hex]'],
  [/(?<![\w+/-])(?=[\w+/-]*[\d=])(?=[\w+/-]*[a-z])(?=[\w+/-]*[A-Z])[\w+/-]{40,}={0,2}/gu, SECRET], // base64
  [/\b[A-Z2-9]{4}-[A-Z2-9]{4}\b/gu, '[code]'], // shown by `link`
  [/\b(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z\d]{10,14}\b/gu, '[serial]'],
];

const PLACES: readonly Rule[] = [
  [/[\w.+-]+@[\w-]+(?:\.[\w-]+)+/gu, '[email]'],
  [/(?<![:/\w~])[/~][^\n"'`]*?\.gguf\b/giu, '[model file]'],
  [/\/(?:Users|home)\/(?!Shared\b)[^/\s"'`:,;)]+/gu, '~'],
  [/\/Volumes\/[^/\s"'`:,;)]+/gu, '/Volumes/[volume]'],
  [/[\p{L}\p{N}-]+(?=\.(?:local|lan|home|internal|localdomain|home\.arpa)\b)/giu, '[host]'],
  [/(?<![\p{L}\p{N}])[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*(?:%\w+)?/giu, ipv6],
  [/(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d]|\.\d)/gu, (found) => (isHarmless(found) ? found : '[ip]')],
];

export function redactor(known: Private): Redact {
  const { secrets, modelFiles, userHome, providerHome, userName, hostName } = known;
  const isElsewhere = providerHome !== userHome && !providerHome.startsWith(`${userHome}/`);
  const rules: Rule[] = [
    ...paths(modelFiles, '[model file]'),
    ...paths(isElsewhere ? [providerHome] : [], '[home]'),
    ...paths([userHome], '~'),
    ...TOKENS,
    ...PLACES,
    ...asWord(hostName, '[host]'),
    ...asWord(hostName.split('.')[0] ?? '', '[host]'),
    ...asWord(userName, '[user]'),
  ];
  return (text) => rules.reduce(applied, withoutSecrets(text, secrets));
}

/** No pattern is made of a secret: one that cannot be compiled would be told in an error. */
function withoutSecrets(text: string, secrets: readonly string[]): string {
  const known = secrets.filter((secret) => secret !== '').sort((a, b) => b.length - a.length);
  return known.reduce((left, secret) => left.replaceAll(secret, SECRET), text);
}

function applied(text: string, [form, shown]: Rule): string {
  return typeof shown === 'string' ? text.replace(form, () => shown) : text.replace(form, shown);
}

/** Wherever they stand, the longest first; a Mac may write one letter in two ways. */
function paths(known: readonly string[], shown: string): Rule[] {
  const written = known.flatMap((path) => [path, path.normalize('NFC'), path.normalize('NFD')]);
  return [...new Set(written)]
    .filter((path) => path.length > 1)
    .sort((a, b) => b.length - a.length)
    .map((path) => [new RegExp(escaped(path), 'giu'), shown]);
}

/** Not inside of a longer word: a user may be called Max, and many things are. */
function asWord(text: string, shown: string): Rule[] {
  if (text === '' || text === 'localhost') return [];
  return [[new RegExp(`(?<![\\p{L}\\p{N}])${escaped(text)}(?![\\p{L}\\p{N}])`, 'giu'), shown]];
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/gu, '\\$&');
}

/** Addresses and hardware addresses, but no times of day. */
function ipv6(found: string): string {
  const [address = ''] = found.split('%');
  const groups = address.split(':').filter((group) => group !== '').length;
  return address.replace(/\.+$/u, '') === '::1' || groups === 0 || (!address.includes('::') && groups < 5)
    ? found
    : '[ip]';
}

/** The same on every machine: loopback, and all addresses at once. */
function isHarmless(address: string): boolean {
  return !isIPv4(address) || address.startsWith('127.') || address === '0.0.0.0';
}

/** Fields of a log line that must not be there, whatever they hold. Counts of tokens are numbers and stay. */
const FORBIDDEN_FIELD =
  /^(?:.*_)?(?:token|key|secret|password|passwd|authorization|cookie|prompt|messages|content|body|input|output|serial(?:_number)?)$/iu;

/** Cut after it was redacted: half a secret has no form any more. */
export const MAX_TEXT_LENGTH = 2_000;
/** So much of a text is looked at; the word at its end is left out. */
export const MAX_READ_LENGTH = 16_000;

/** The same value with every text in it redacted. */
export function redactedValue(value: unknown, redact: Redact): unknown {
  if (typeof value === 'string') return shortened(value, redact);
  if (Array.isArray(value)) return value.map((each) => redactedValue(each, redact));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, redactedValue(each, redact)]));
}

/** A log line, with the fields that have no place in one taken out. */
export function redactedLine(line: object, redact: Redact): Record<string, unknown> {
  const fields = Object.entries(line).map(([name, value]): [string, unknown] => {
    const isForbidden = FORBIDDEN_FIELD.test(name) && typeof value !== 'number' && typeof value !== 'boolean';
    if (isForbidden) return [name, SECRET];
    return [redact(name), isRecord(value) ? redactedLine(value, redact) : redactedValue(value, redact)];
  });
  return Object.fromEntries(fields);
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shortened(text: string, redact: Redact): string {
  const isRead = text.length <= MAX_READ_LENGTH;
  const shown = isRead ? redact(text) : redact(text.slice(0, MAX_READ_LENGTH)).replace(/\S*$/u, '');
  return isRead && shown.length <= MAX_TEXT_LENGTH ? shown : `${shown.slice(0, MAX_TEXT_LENGTH)}…`;
}
