import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadSettings, homeAt, type Home } from '../../src/config.js';
import { fetchBuild } from '../../src/models/fetch-build.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { hostedModel, QUICK_LIMITS, serve } from '../support/hosted-build.js';
import { RangeServer } from '../support/range-server.js';
import { TemporaryHome } from '../support/temporary-home.js';

const GIGABYTE = 1024 ** 3;
const files = new Map([['story.gguf', readFileSync(join(PACKAGE_ROOT, 'assets/darkbloom-tiny-chat.gguf'))]]);

async function fetched(home: Home, server: RangeServer, id: string, limitBytes: number) {
  const settings = loadSettings(homeAt(home.folder), {}, { 'models.download_from': server.url });
  const seen: number[] = [];
  const model = await fetchBuild(id, {
    catalog: [hostedModel(files).model],
    homeFolder: home.folder,
    settings,
    limitBytes,
    signal: new AbortController().signal,
    onProgress: ({ doneBytes }) => seen.push(doneBytes),
    limits: QUICK_LIMITS,
  });
  return { model, seen };
}

test('a build of the catalogue comes, and is a model that can be opened', async () => {
  await using server = await RangeServer.listen();
  using temporary = new TemporaryHome();
  serve(server, files);
  const { model, seen } = await fetched(temporary.home, server, 'local/story-f16', 8 * GIGABYTE);
  expect(model).toMatchObject({ id: 'local/story-f16', alias: 'story', architecture: 'llama', templateRenderOk: true });
  expect(seen.at(-1)).toBe(model.sizeBytes);
});

test.each([
  ['local/other', 8 * GIGABYTE, 'model_not_found'],
  ['local/story-f16', 1024, 'insufficient_memory'],
])('%s under a limit of %d bytes is refused before anything is fetched', async (id, limit, code) => {
  await using server = await RangeServer.listen();
  using temporary = new TemporaryHome();
  serve(server, files);
  await expect(fetched(temporary.home, server, id, limit)).rejects.toThrow(expect.objectContaining({ code }));
  expect(server.requests).toEqual([]);
});
