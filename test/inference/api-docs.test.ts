import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CHAT_FIELDS } from '../../src/inference/openai-chat.js';
import { COMPLETION_FIELDS } from '../../src/inference/openai-completions.js';
import { RESPONSE_FIELDS } from '../../src/inference/openai-responses.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';

const sections = readFileSync(join(PACKAGE_ROOT, 'docs/api.md'), 'utf8').split(/^## /mu);

/** The names in the first column of a section's table. */
function fieldsIn(title: string): string[] {
  const section = sections.find((each) => each.startsWith(`${title}\n`)) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  return rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/gu)].map(([, name = '']) => name));
}

/** Fields of the wire between coordinator and provider; no client's. */
const OURS = new Set(['endpoint', 'darkbloom']);

test.each([
  ['Chat completions', CHAT_FIELDS],
  ['Responses', RESPONSE_FIELDS],
  ['Completions', COMPLETION_FIELDS],
])('docs/api.md names each field of %s that is looked at, and no other', (title, fields) => {
  const documented = [...fieldsIn('Fields that all three take'), ...fieldsIn(title)];
  expect(documented.sort()).toEqual(fields.filter((field) => !OURS.has(field)).sort());
});
