import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { readCatalog, weightHash } from '../../src/models/catalog.js';
import { readGguf } from '../../src/models/gguf.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { hasSharedFixtures, sharedFixture } from '../support/shared-fixtures.js';

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');

describe('the catalogue of the package', () => {
  const models = readCatalog();
  const files = models.flatMap(({ builds }) => builds).flatMap((build) => build.files.map((file) => ({ build, file })));

  test('can be read, and no two models or builds have the same name', () => {
    const names = models.flatMap(({ alias, builds }) => [alias, ...builds.map(({ id }) => id)]);
    expect(names).toContain('darkbloom-tiny-chat');
    expect(names).toContain('local/darkbloom-tiny-chat-f16');
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(files)('$file.path is the file that lies in the package', async ({ build, file }) => {
    const path = join(PACKAGE_ROOT, 'assets', file.path);
    expect(statSync(path).size).toBe(file.size_bytes);
    expect(sha256(readFileSync(path))).toBe(file.sha256);
    const facts = await readGguf(path);
    expect([facts.quantization, facts.trainedContextTokens]).toEqual([build.quantization, build.context_tokens]);
  });
});

describe('the weight hash', () => {
  const file = (path: string) => ({ path, sha256: sha256(path) });

  test('of one file is the hash of its raw digest, not the digest', () => {
    const only = file('model.gguf');
    expect(weightHash([only])).toBe(sha256(Buffer.from(only.sha256, 'hex')));
    expect(weightHash([only])).not.toBe(only.sha256);
  });

  test('does not depend on the order in which files are listed', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(['b', 'a', 'B', 'a/b', 'a-b', 'é', '😀', '\uFFEE']), (paths) => {
        expect(weightHash(paths.map(file))).toBe(weightHash([...paths].reverse().map(file)));
      }),
    );
  });

  test('takes files in the byte order of their paths', () => {
    const inOrder = ['B', 'a-b', 'a/b', 'b', 'é', '\uFFEE', '😀'].map(file);
    const digests = Buffer.concat(inOrder.map((each) => Buffer.from(each.sha256, 'hex')));
    expect(weightHash([...inOrder].reverse())).toBe(sha256(digests));
  });

  test.skipIf(!hasSharedFixtures)('is the aggregate of the recorded manifests', () => {
    const Manifests = z.object({
      cases: z.array(
        z.object({
          expected_manifest: z.object({
            aggregate_sha256: z.string(),
            files: z.array(z.object({ path: z.string(), sha256: z.string() })),
          }),
        }),
      ),
    });
    const { cases } = Manifests.parse(sharedFixture('protocol/model_manifest_expected.v1.json'));
    expect(cases.length).toBeGreaterThan(0);
    for (const { expected_manifest: manifest } of cases) {
      expect(weightHash(manifest.files)).toBe(manifest.aggregate_sha256);
    }
  });
});
