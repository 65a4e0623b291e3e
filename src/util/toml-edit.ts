import { tryJson } from './json.js';

/** Targeted edits of a TOML file's text: one key of one table; every other line, comments too, stays as it is. A key is
 *  found under its table's header, or dotted before it. Inline tables and values of several lines are not understood:
 *  whoever writes the text back compares what it means first. */

/** `value` as a TOML literal: whole numbers and true or false bare, all else a string. */
export function tomlLiteral(value: string): string {
  return /^(0|[1-9]\d{0,14}|true|false)$/u.test(value) ? value : tomlString(value);
}

/** JSON escapes all that TOML wants escaped, but for DEL. */
export function tomlString(value: string): string {
  return JSON.stringify(value).replaceAll('\x7f', '\\u007f');
}

/** The text with `key` of `[table]` set to a literal; the table is added at the end when it is missing. */
export function setTomlValue(text: string, table: string, key: string, literal: string): string {
  const lines = linesOf(text);
  const tablePath = table.split('.');
  const settings = settingsOf(lines);
  const found = settings.find(({ path }) => isSame(path, [...tablePath, key]));
  const header = lines.findIndex((line) => isSame(headerOf(line) ?? [], tablePath));
  // a table that dotted keys have begun may not get a header too
  const sibling = settings.findLast(({ header: under, path }) => {
    return under.length < tablePath.length && startsWith(path, tablePath);
  });
  if (found !== undefined) {
    const line = lines[found.line] ?? '';
    lines[found.line] = `${line.slice(0, found.keyEnd)} = ${literal}${commentOf(line)}`;
  } else if (header >= 0) {
    lines.splice(header + 1, 0, `${spelled(key)} = ${literal}`);
  } else if (sibling !== undefined) {
    const dotted = [...tablePath.slice(sibling.header.length), key].map(spelled).join('.');
    lines.splice(sibling.line + 1, 0, `${dotted} = ${literal}`);
  } else {
    if (lines.length > 0) lines.push('');
    lines.push(`[${table}]`, `${spelled(key)} = ${literal}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The text without `key` of `[table]`. */
export function removeTomlKey(text: string, table: string, key: string): string {
  const lines = linesOf(text);
  const found = settingsOf(lines).find(({ path }) => isSame(path, [...table.split('.'), key]));
  if (found !== undefined) lines.splice(found.line, 1);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** The line (from 1) that sets the key of this path, or an inline table around it; `undefined` when none was found. */
export function tomlLineOf(text: string, path: readonly string[]): number | undefined {
  const found = settingsOf(linesOf(text)).find((setting) => startsWith(path, setting.path));
  return found === undefined ? undefined : found.line + 1;
}

/** The line (from 1) of the header of the table of this path, or of one inside it. */
export function tomlHeaderLineOf(text: string, path: readonly string[]): number | undefined {
  const at = linesOf(text).findIndex((line) => startsWith(headerOf(line) ?? [], path));
  return at < 0 ? undefined : at + 1;
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/u, '').split('\n');
}

/** A line that sets a key. */
interface SettingLine {
  /** Index of the line. */
  line: number;
  /** Of the table it stands under; empty before the first header. */
  header: string[];
  /** Of the key, its table's included. */
  path: string[];
  /** Where the key ends in the line. */
  keyEnd: number;
}

function settingsOf(lines: readonly string[]): SettingLine[] {
  let header: string[] = [];
  return lines.flatMap((text, line) => {
    if (text.trimStart().startsWith('[')) header = headerOf(text) ?? ['']; // no table of ours: nothing is found in it
    const key = keyOf(text);
    return key === undefined ? [] : [{ line, header, path: [...header, ...key.names], keyEnd: key.end }];
  });
}

const NAME = String.raw`[\w-]+|"(?:\\.|[^"\\])*"|'[^']*'`;
const DOTTED = String.raw`(?:${NAME})(?:[ \t]*\.[ \t]*(?:${NAME}))*`;
const HEADER_LINE = new RegExp(String.raw`^[ \t]*\[[ \t]*(${DOTTED})[ \t]*\][ \t\r]*(?:#.*)?$`, 'u');
const KEY_LINE = new RegExp(String.raw`^([ \t]*(${DOTTED}))[ \t]*=`, 'u');

function headerOf(line: string): string[] | undefined {
  const dotted = HEADER_LINE.exec(line)?.[1];
  return dotted === undefined ? undefined : namesOf(dotted);
}

function keyOf(line: string): { names: string[]; end: number } | undefined {
  const [, left, dotted] = KEY_LINE.exec(line) ?? [];
  return left === undefined || dotted === undefined ? undefined : { names: namesOf(dotted), end: left.length };
}

function namesOf(dotted: string): string[] {
  return (dotted.match(new RegExp(NAME, 'gu')) ?? []).map((name) => {
    if (name.startsWith("'")) return name.slice(1, -1);
    return name.startsWith('"') ? unescaped(name) : name;
  });
}

/** A basic string; one with an escape that only TOML knows stays as it is written and is not found. */
function unescaped(name: string): string {
  const value = tryJson(name);
  return typeof value === 'string' ? value : name;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && startsWith(a, b);
}

function startsWith(path: readonly string[], start: readonly string[]): boolean {
  return start.every((name, index) => name === path[index]);
}

/** Bare where TOML allows it: a bare `qwen2.5` would be a key inside another. */
function spelled(key: string): string {
  return /^[\w-]+$/u.test(key) ? key : tomlString(key);
}

/** The comment behind a value, outside of strings. */
function commentOf(line: string): string {
  const bare = line.replace(/"(\\.|[^"\\])*"|'[^']*'/gu, (text) => ' '.repeat(text.length));
  const at = bare.indexOf('#');
  return at < 0 ? '' : ` ${line.slice(at)}`;
}
