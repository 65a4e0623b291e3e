import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { z } from 'zod';
import { ModelsPlanOutput } from '../../src/cli/models-output.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { loopModel, sayModel } from '../support/made-models.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

/** The `models` command as a person runs it. Downloading itself: download.test.ts. */

const temporary = new TemporaryHome();
const { folder } = temporary.home;
afterAll(() => temporary[Symbol.dispose]());

const Listed = z.object({ models: z.array(z.object({ alias: z.string(), path: z.string(), build: z.string() })) });

costly('list shows what the machine has, with its size in memory', async () => {
  const ended = await runCommand(['models'], folder);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.stdout).toMatch(/^model +build +on disk +in memory\ndarkbloom-tiny-chat +F16 +3\.59 MB +\d/u);
});

costly('the catalogue has nothing without a size and a build, and marks what is installed', async () => {
  const { stdout } = await runCommand(['models', 'catalog', '--json'], folder);
  const Row = z.object({
    alias: z.string(),
    build: z.string(),
    size_bytes: z.number().positive(),
    installed: z.boolean(),
    min_ram_gb: z.number(),
  });
  const { models } = z.object({ schema_version: z.literal(1), models: z.array(Row) }).parse(JSON.parse(stdout));
  expect(models.length).toBeGreaterThan(10);
  const macOf = (id: string) => models.find(({ build }) => build === id)?.min_ram_gb ?? 0;
  expect(macOf('local/qwen3.8-27b-q8_0')).toBeGreaterThan(macOf('local/qwen3.8-27b-ud-q4_k_m'));
  expect(models.filter(({ installed }) => installed).map(({ alias }) => alias)).toEqual(['darkbloom-tiny-chat']);
});

costly('plan shows the sum for another Mac, and recommends what fits', async () => {
  const { stdout } = await runCommand(['models', 'plan', '--as', 'M2 16GB', '--json'], folder);
  const { models, recommended, limit_bytes: limit } = ModelsPlanOutput.parse(JSON.parse(stdout));
  expect(models.find(({ build }) => build === recommended)?.fits).toBe('as_set');
  for (const { fits, left_bytes: left, needed_bytes: needed, ...sum } of models) {
    expect(sum.weight_bytes + sum.kv_bytes + sum.compute_bytes + sum.reserve_bytes).toBe(needed);
    expect(needed + left).toBe(limit);
    expect(left >= 0).toBe(fits !== 'no');
  }
});

test.each([
  [['models', 'download', 'qwen3.5-9'], /no model 'qwen3\.5-9'\. Did you mean qwen3\.5-9b\?/u],
  [['models', 'download', 'darkbloom-tiny-chat'], /part of this package/u],
  [
    ['models', 'verify', 'qwen3.5-9b'],
    /is not on this machine\. To get it: darkbloom-provider models download qwen3\.5-9b/u,
  ],
  [['models', 'remove', 'qwen3.5-9b'], /neither downloaded nor adopted/u],
  [['models', 'adopt', 'nothing'], /No application holds 'nothing'/u],
  [['models', 'plan', '--as', 'Pentium'], /'Pentium' is no Mac/u],
])('%j says in one sentence what is wrong', async (args, sentence) => {
  const ended = await runCommand(args, folder);
  expect(ended.code).toBe(64);
  expect(ended.stderr).toMatch(sentence);
});

costly('a file that Ollama holds is adopted in place, answers, and is forgotten without being touched', async () => {
  const blob = Buffer.from(readFileSync(sayModel()));
  const { createHash } = await import('node:crypto');
  const digest = createHash('sha256').update(blob).digest('hex');
  const ollama = join(folder, '.ollama/models');
  const path = join(ollama, 'blobs', `sha256-${digest}`);
  mkdirSync(join(ollama, 'blobs'), { recursive: true });
  mkdirSync(join(ollama, 'manifests/registry.ollama.ai/library/talker'), { recursive: true });
  copyFileSync(sayModel(), path);
  const layer = { mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${digest}`, size: blob.length };
  writeFileSync(
    join(ollama, 'manifests/registry.ollama.ai/library/talker/latest'),
    JSON.stringify({ schemaVersion: 2, layers: [layer] }),
  );
  const offered = await runCommand(['models', 'adopt', '--json'], folder);
  const Found = z.object({ candidates: z.tuple([z.object({ name: z.string(), found_in: z.literal('ollama') })]) });
  const [{ name }] = Found.parse(JSON.parse(offered.stdout)).candidates;
  const adopted = await runCommand(['models', 'adopt', name], folder);
  expect(adopted).toMatchObject({ code: 0 });

  const listed = await runCommand(['models', 'list', '--json'], folder);
  const own = Listed.parse(JSON.parse(listed.stdout)).models.find((model) => model.path === path);
  expect(own).toBeDefined();
  await using daemon = new RunningCommand(['start', '--foreground', '--port', '0'], folder);
  const [, baseUrl = ''] = await daemon.says(/address +(http\S+)/u);
  const { api_key: key } = z
    .object({ api_key: z.string() })
    .parse(JSON.parse((await runCommand(['local', '--json'], folder)).stdout));
  const ask = () =>
    fetch(`${baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify({ model: own?.alias, messages: [{ role: 'user', content: 'hi' }], temperature: 0 }),
    });
  expect(await (await ask()).json()).toMatchObject({
    choices: [{ message: { content: 'Hello there, this is a deterministic test reply.' } }],
  });
  const removed = await runCommand(['models', 'remove', own?.build ?? ''], folder);
  expect(removed).toMatchObject({ code: 0, stderr: '' });
  expect(removed.stdout).toMatch(/is forgotten; the file of the other application stays where it is\./u);
  expect(removed.stdout).toMatch(/The running daemon has it in memory and goes on answering with it until/u);
  const still = await ask();
  expect(await still.json()).toMatchObject({
    choices: [{ message: { content: expect.stringMatching(/^Hello there/u) } }],
  });
  expect(readFileSync(path).equals(blob)).toBe(true);
  await daemon.stop();

  await runCommand(['models', 'adopt', name], folder);
  writeFileSync(path, 'another one'); // its application changed it: refused from now on
  const refused = await runCommand(['models', 'remove', own?.alias ?? ''], folder);
  expect(refused).toMatchObject({ code: 0, stderr: '' });
  expect(refused.stdout).toMatch(/is forgotten; the file of the other application stays where it is\./u);
  expect(readFileSync(path, 'utf8')).toBe('another one');
});

costly('two files of one name: the name alone is refused, with the paths', async () => {
  const places = ['a', 'b'].map((owner) => join(folder, '.lmstudio/models', owner, 'Same/same.gguf'));
  for (const [index, place] of places.entries()) {
    mkdirSync(dirname(place), { recursive: true });
    copyFileSync(index === 0 ? sayModel() : loopModel(), place);
  }
  const both = await runCommand(['models', 'adopt', 'same'], folder);
  expect(both).toMatchObject({ code: 64, stdout: '' });
  for (const place of places) expect(both.stderr).toContain(place);
  for (const place of places) expect(await runCommand(['models', 'adopt', place], folder)).toMatchObject({ code: 0 });
  const { models } = Listed.parse(JSON.parse((await runCommand(['models', '--json'], folder)).stdout));
  expect(models.map(({ alias }) => alias)).toEqual(expect.arrayContaining(['same', 'same-lm-studio']));
});

costly(
  'prune shows what no longer serves, asks for --yes where nobody can be asked, and removes just that',
  async () => {
    const stray = join(folder, 'models/local-gone-q4_0/gone.gguf');
    mkdirSync(dirname(stray), { recursive: true });
    writeFileSync(stray, Buffer.alloc(5_000));
    const dry = await runCommand(['models', 'prune', '--dry-run', '--json'], folder);
    expect(JSON.parse(dry.stdout)).toEqual({
      schema_version: 1,
      leftovers: [
        {
          path: dirname(stray),
          size_bytes: 5_000,
          kind: 'not_in_catalogue',
          reason: 'no build of the catalogue (any more)',
        },
      ],
      total_bytes: 5_000,
      busy: [],
    });
    const asked = await runCommand(['models', 'prune'], folder);
    expect(asked).toMatchObject({ code: 64, stderr: expect.stringContaining('Say --yes') });
    expect(asked.stdout).toMatch(/local-gone-q4_0 +5\.00 kB .*\nTogether 5\.00 kB\./u);
    expect(existsSync(stray)).toBe(true);
    expect(await runCommand(['models', 'prune', '--json'], folder)).toMatchObject({ code: 64 });
    const pruned = await runCommand(['models', 'prune', '--yes'], folder);
    expect(pruned).toMatchObject({ code: 0, stdout: expect.stringContaining('Removed 1, 5.00 kB.') });
    expect(existsSync(dirname(stray))).toBe(false);
    expect((await runCommand(['models', 'prune'], folder)).stdout).toBe('There is nothing to remove.\n');
  },
);
