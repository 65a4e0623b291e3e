import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { gte } from '../../src/util/versions.js';
import { runCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';

const Report = z.object({
  schema_version: z.literal(1),
  checks: z.array(
    z.object({
      name: z.string(),
      verdict: z.enum(['good', 'warning', 'bad']),
      detail: z.string(),
      fix: z.string().optional(),
    }),
  ),
});

test('doctor loads a model and lets it write a token, and finds a new home in order', async () => {
  using temporary = new TemporaryHome();
  const ended = await runCommand(['doctor', '--json'], temporary.home.folder, { DARKBLOOM_PROVIDER_HTTP_PORT: '0' });
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  const { checks } = Report.parse(JSON.parse(ended.stdout));
  expect(checks.find(({ name }) => name === 'a token')?.detail).toMatch(/darkbloom-tiny-chat loaded and wrote one/u);
  expect(checks.filter(({ verdict }) => verdict === 'bad')).toEqual([]);
});

test('doctor names a model file that is not there, with what to do, and fails', async () => {
  using temporary = new TemporaryHome();
  writeFileSync(temporary.home.config, '[models.files]\nmine = "/nowhere.gguf"\n');
  const ended = await runCommand(['doctor'], temporary.home.folder);
  expect(ended.code).toBe(65);
  expect(ended.stdout).toMatch(
    /✗ models +models\.files\.[\w-]+: The model file \/nowhere\.gguf cannot be used: there is no such file\. Replace/u,
  );
});

test.each([
  ['20.19.0', '20.19.0', true],
  ['20.9.0', '20.19.0', false],
  ['22.0.0', '20.19.0', true],
  ['20.20.2', '20.19.0', true],
  ['18.99.99', '20.19.0', false],
])('%s against %s is %s', (version, least, expected) => {
  expect(gte(version, least)).toBe(expected);
});
