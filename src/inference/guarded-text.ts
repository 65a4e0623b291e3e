import type { ControlTokens } from './control-tokens.js';
import { isJsonObject } from './types.js';

/**
 * Text of a request on its way through a template. A template sees it nearly as it is, so that it can trim it or write it
 * as JSON, but no control token can be found in it, nor at its borders: the first character of each is written as an
 * escape, and an empty escape stands at both ends. `unguarded` takes the escapes out again.
 *
 *   escape = MARK, the code point's digits, MARK      (all of them private characters, which no filter of Jinja touches)
 */
const MARK = '\uE000';
const FIRST_DIGIT = 0xe010;
const ESCAPE = /\uE000([\uE010-\uE01F]*)\uE000/gu;

export function guarded(text: string, tokens: ControlTokens): string {
  const inner = text.trim();
  if (inner === '') return text;
  const at = text.indexOf(inner);
  const [before, after] = [text.slice(0, at), text.slice(at + inner.length)];
  return before + MARK + MARK + escaped(inner, tokens) + MARK + MARK + after;
}

export function unguarded(text: string): string {
  return text.replace(ESCAPE, (_, digits: string) => {
    if (digits === '') return '';
    const hex = [...digits].map((digit) => (digit.charCodeAt(0) - FIRST_DIGIT).toString(16)).join('');
    return String.fromCodePoint(Number.parseInt(hex, 16));
  });
}

/** Words of JSON Schema, and the values that templates compare with: they must stay as they are. */
const WORDS = new Set(
  (
    'type function name description parameters properties required items enum const default nullable format title ' +
    'anyOf oneOf allOf not $ref $defs definitions additionalProperties strict examples minimum maximum minLength ' +
    'maxLength minItems maxItems pattern object string number integer boolean array null ' +
    'none minimal low medium high on off'
  ).split(' '),
);

/** All strings in a JSON value, keys too. */
export function guardedJson(value: unknown, tokens: ControlTokens): unknown {
  if (typeof value === 'string') return WORDS.has(value) ? value : guarded(value, tokens);
  if (Array.isArray(value)) return value.map((each) => guardedJson(each, tokens));
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      WORDS.has(key) ? key : guarded(key, tokens),
      guardedJson(each, tokens),
    ]),
  );
}

function escaped(text: string, tokens: ControlTokens): string {
  let result = '';
  let done = 0;
  for (let found = tokens.find(text); found !== undefined; found = tokens.find(text, done)) {
    const point = text.codePointAt(found.at) ?? 0;
    result += plain(text.slice(done, found.at)) + escapeOf(point);
    done = found.at + (point > 0xffff ? 2 : 1);
  }
  return result + plain(text.slice(done));
}

function plain(text: string): string {
  return text.replaceAll(MARK, escapeOf(MARK.charCodeAt(0)));
}

function escapeOf(point: number): string {
  const digits = [...point.toString(16)].map((digit) => String.fromCharCode(FIRST_DIGIT + Number.parseInt(digit, 16)));
  return MARK + digits.join('') + MARK;
}
