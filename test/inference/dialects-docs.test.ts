import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { ANSWERS } from '../support/family-answers.js';
import { FAMILIES } from '../support/templates.js';

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), 'utf8');
const page = read('docs/dialects.md');
const rows = page.split('\n').filter((line) => line.startsWith('|') && line.includes('.test.ts'));
const LINK = /\]\(\.\.\/(?<file>test\/[^ )]+) (?<quote>["'])(?<title>.+?)\k<quote>\)/gu;
const links = [...page.matchAll(LINK)].map(({ groups = {} }) => ({
  file: groups.file ?? '',
  title: groups.title ?? '',
}));

/** The titles of a file's tests, also of those that stand in a table. */
function titlesOf(file: string): string[] {
  const source = read(file);
  const written = [...source.matchAll(/test\(\s*'([^']+)'/gu)].map(([, title = '']) => title);
  const ofFamilies = (head: string) =>
    FAMILIES.flatMap((family) => written.map((title) => `${head} ${family}: ${title}`));
  const heads = [...source.matchAll(/\('([a-z ]+) %s'/gu)].map(([, head = '']) => head);
  const ofAnswers = file.endsWith('syntax.test.ts') ? ANSWERS.map(([name, syntax]) => `${syntax.name}: ${name}`) : [];
  return [...written, ...heads.flatMap(ofFamilies), ...ofAnswers];
}

test('each test that the table of families names exists', () => {
  expect(links.length).toBeGreaterThan(50);
  for (const { file, title } of links) expect(titlesOf(file), `${file}: ${title}`).toContain(title);
});

test('the table has a row for each family, with all its columns', () => {
  const families = rows.map((row) => /`([a-z0-9-]+)`/u.exec(row)?.[1]);
  expect(families.sort()).toEqual([...FAMILIES].sort());
  for (const row of rows) expect(row.split(' | ')).toHaveLength(8);
});
