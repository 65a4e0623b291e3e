import { copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kvBytesPerToken } from '../../src/inference/footprint.js';
import { readGguf } from '../../src/models/gguf.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { bertModel, madeModel, sayModel, vectorModel } from '../support/made-models.js';

const DEMO = join(PACKAGE_ROOT, 'assets/darkbloom-tiny-chat.gguf');
const DEMO_BYTES = 3_590_208;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gguf-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A copy of the demo model, so many bytes long. */
function cutShort(bytes: number): string {
  const path = join(folder, `short-${bytes}.gguf`);
  copyFileSync(DEMO, path);
  truncateSync(path, bytes);
  return path;
}

test('the demo model says of itself what it is', async () => {
  const facts = await readGguf(DEMO);
  expect(facts).toEqual({
    architecture: 'llama',
    quantization: 'F16',
    sizeBytes: DEMO_BYTES,
    trainedContextTokens: 2_048,
    shape: { weightBytes: DEMO_BYTES, layers: 4, kvHeads: 2, keyLength: 64, valueLength: 64 },
    templateRenderOk: true,
  });
  expect(kvBytesPerToken(facts.shape)).toBe(2_048);
});

describe('a file that is no model is refused with a sentence that says what is wrong and what to do', () => {
  const WHOLE = 'it is not a whole GGUF file';
  test.each<[string, () => string, string]>([
    ['a file that is not there', () => join(folder, 'nowhere.gguf'), 'there is no such file'],
    [
      'a file whose last byte is missing',
      () => cutShort(DEMO_BYTES - 1),
      `it is cut short: ${DEMO_BYTES - 1} bytes, its header speaks of at least ${DEMO_BYTES}`,
    ],
    [
      'a file with half of its data',
      () => cutShort(DEMO_BYTES / 2),
      `it is cut short: ${DEMO_BYTES / 2} bytes, its header speaks of at least ${DEMO_BYTES}`,
    ],
    ['a file that ends inside its header', () => cutShort(5_000), 'it is cut short: 5000 bytes, '],
    ['a file that ends after its first word', () => cutShort(4), 'its header lacks what a text model needs'],
    ['an empty file', () => cutShort(0), WHOLE],
    ['text', () => written('text.gguf', 'Sorry, this page does not exist. '.repeat(1_000)), WHOLE],
    ['a folder', () => folderNamed('folder.gguf'), WHOLE],
  ])('%s', async (_, make, why) => {
    const path = make();
    const refused = expect.objectContaining({
      code: 'model_corrupt',
      message: expect.stringMatching(
        /\. Replace the file, or take it out of \[models\.files\] in the settings\.$/u,
      ) as string,
    }) as Error;
    await expect(readGguf(path)).rejects.toThrow(refused);
    await expect(readGguf(path)).rejects.toThrow(`The model file ${path} cannot be used: ${why}`);
  });

  test('a file that ends anywhere in its header', async () => {
    const path = cutShort(60_000);
    for (let bytes = 60_000; bytes >= 0; bytes -= 1_009) {
      truncateSync(path, bytes);
      await expect(readGguf(path)).rejects.toMatchObject({ code: 'model_corrupt' });
    }
  });

  function written(name: string, text: string): string {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  }

  function folderNamed(name: string): string {
    const path = join(folder, name);
    mkdirSync(path);
    return path;
  }
});

test('a model for vectors is known by how it pools, or by its kind', async () => {
  expect(await readGguf(vectorModel())).toMatchObject({ architecture: 'llama', task: 'vectors' });
  expect(await readGguf(bertModel())).toMatchObject({ architecture: 'bert', task: 'vectors' });
  expect(await readGguf(sayModel())).not.toHaveProperty('task');
});

test('a reranker is refused: nothing here can use it', async () => {
  const path = madeModel('ranker', ['--pooling', 'rank']);
  await expect(readGguf(path)).rejects.toMatchObject({
    code: 'not_supported',
    message: expect.stringContaining('is a reranker') as string,
  });
});
