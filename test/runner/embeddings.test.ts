import { expect, test } from 'vitest';
import { Embeddings } from '../../src/runner/embeddings.js';
import { openEmbedder } from '../../src/runner/llama-embedder.js';
import { vectorModel } from '../support/made-models.js';

test('each text that was read is told while others wait, and so is each part of the load', async () => {
  let parts = 0;
  const load = { type: 'load', modelPath: vectorModel(), rows: 1, contextTokens: 256, threads: 1 } as const;
  const embedder = await openEmbedder(
    load,
    () => undefined,
    () => parts++,
  );
  expect(parts).toBeGreaterThan(0);
  let texts = 0;
  const embeddings = new Embeddings(embedder, () => texts++);
  expect(await embeddings.answer({ type: 'embed', id: 1, inputs: ['a', 'b', 'c'] })).toMatchObject({
    type: 'embedded',
  });
  expect(texts).toBe(3);
  await embedder.close();
});
