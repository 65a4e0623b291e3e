/** The text of a TOML file with one string set under a table; every other line, comments too, stays as it is. */
export function setTomlString(text: string, table: string, key: string, value: string): string {
  const line = `${key} = ${JSON.stringify(value)}`;
  const lines = text === '' ? [] : text.replace(/\n$/u, '').split('\n');
  const header = lines.findIndex((candidate) => candidate.trim() === `[${table}]`);
  if (header < 0) return [...lines, ...(lines.length === 0 ? [] : ['']), `[${table}]`, line, ''].join('\n');
  const after = lines.findIndex((candidate, index) => index > header && candidate.trimStart().startsWith('['));
  const end = after < 0 ? lines.length : after;
  const existing = lines.findIndex(
    (candidate, index) => index > header && index < end && new RegExp(`^\\s*${key}\\s*=`, 'u').test(candidate),
  );
  if (existing >= 0) lines[existing] = line;
  else lines.splice(header + 1, 0, line);
  return `${lines.join('\n')}\n`;
}
