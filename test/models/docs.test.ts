import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { SAMPLE_MACS } from '../../src/models/macs.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { runCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';

/** The tool is plain JavaScript and works on dist/, which `npm test` builds first. */
const Tool = z.object({ modelsDocs: z.custom<() => string>((value) => typeof value === 'function') });
const { modelsDocs } = Tool.parse(await import(pathToFileURL(join(PACKAGE_ROOT, 'tools/models-docs.mjs')).href));
const page = readFileSync(join(PACKAGE_ROOT, 'docs/models.md'), 'utf8');

test('docs/models.md is what the catalogue and the sums say now; `npm run docs` writes it', () => {
  expect(page).toBe(modelsDocs());
  expect([...page.matchAll(/^## (M\d.*GB)$/gmu)].map(([, mac]) => mac)).toEqual(SAMPLE_MACS);
});

test('the command shows the sums of the page', async () => {
  using temporary = new TemporaryHome();
  const { stdout } = await runCommand(['models', 'plan', '--as', 'M2 24GB'], temporary.home.folder);
  const chapter = page.split('## M2 24GB\n')[1]?.split('\n## ')[0] ?? '';
  const rows = [...chapter.matchAll(/^\| (\S+) \| (\S+) \| .* \| (.* \+ .*) \| (\S+) \| .* \|$/gmu)];
  const shown = rows.filter(([, , , sum]) => sum?.startsWith('weights') === false);
  expect(shown.length).toBeGreaterThan(10);
  for (const [, alias = '', build = '', sum = '', needs = ''] of shown) {
    const line = stdout.split('\n').find((each) => each.startsWith(`${alias} `) && each.includes(` ${build} `));
    expect(line?.replaceAll(/ +/gu, ' ')).toContain(`${alias} ${build} ${needs} = ${sum} `);
  }
});
