/** Targeted edits of a TOML file's text: one key of one table; every other line, comments too, stays as it is. */

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
  const line = `${spelled(key)} = ${literal}`;
  const lines = linesOf(text);
  const at = find(lines, table, key);
  if (at.header < 0) return [...lines, ...(lines.length === 0 ? [] : ['']), `[${table}]`, line, ''].join('\n');
  if (at.key >= 0) lines[at.key] = line + commentOf(lines[at.key] ?? '');
  else lines.splice(at.header + 1, 0, line);
  return `${lines.join('\n')}\n`;
}

/** The text without `key` of `[table]`. */
export function removeTomlKey(text: string, table: string, key: string): string {
  const lines = linesOf(text);
  const { key: at } = find(lines, table, key);
  if (at >= 0) lines.splice(at, 1);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/u, '').split('\n');
}

function find(lines: readonly string[], table: string, key: string): { header: number; key: number } {
  const header = lines.findIndex((line) => line.replace(/#.*$/u, '').replace(/\s/gu, '') === `[${table}]`);
  const after = lines.findIndex((line, index) => index > header && line.trimStart().startsWith('['));
  const end = after < 0 ? lines.length : after;
  const at = lines.findIndex((line, index) => header >= 0 && index > header && index < end && sets(line, key));
  return { header, key: at };
}

function sets(line: string, key: string): boolean {
  const text = line.trimStart();
  return [spelled(key), tomlString(key), `'${key}'`].some(
    (spelling) => text.startsWith(spelling) && /^\s*=/u.test(text.slice(spelling.length)),
  );
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
