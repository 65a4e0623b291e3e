import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  parseCatalog,
  readCatalog,
  sizeOf,
  sourcesOf,
  weightHash,
  type HostedBuild,
} from '../../src/models/catalog.js';
import { readGguf } from '../../src/models/gguf.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { hasSharedFixtures, sharedFixture } from '../support/shared-fixtures.js';

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');

describe('the catalogue of the package', () => {
  const models = readCatalog();
  const builds = models.flatMap((model) => model.builds.map((build) => ({ model, build })));
  const packaged = builds
    .filter(({ build }) => build.source === 'package')
    .flatMap(({ build }) => build.files.map((file) => ({ build, file })));
  const hosted = builds.flatMap(({ model, build }) => (build.source === 'huggingface' ? [{ model, build }] : []));

  test('can be read, and no two models or builds have the same name', () => {
    const names = models.flatMap(({ alias, builds }) => [alias, ...builds.map(({ id }) => id)]);
    expect(names).toContain('darkbloom-tiny-chat');
    expect(names).toContain('local/darkbloom-tiny-chat-f16');
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(packaged)('$file.path is the file that lies in the package', async ({ build, file }) => {
    const path = join(PACKAGE_ROOT, 'assets', file.path);
    expect(statSync(path).size).toBe(file.size_bytes);
    expect(sha256(readFileSync(path))).toBe(file.sha256);
    const facts = await readGguf(path);
    expect([facts.quantization, facts.trainedContextTokens]).toEqual([build.quantization, build.context_tokens]);
  });

  test('names a build after its alias and its quantization', () => {
    for (const { model, build } of builds) {
      expect(build.id).toBe(`local/${model.alias}-${build.quantization.toLowerCase()}`);
    }
  });

  test('has no more builds of a model than a coordinator asks for', () => {
    for (const model of models) expect(model.builds.length).toBeLessThanOrEqual(2);
  });

  test('has no two files with one hash, and none that is no model', () => {
    const files = builds.flatMap(({ build }) => build.files);
    expect(new Set(files.map(({ sha256: hash }) => hash)).size).toBe(files.length);
    for (const { path } of files) expect(path).toMatch(/^(?!mmproj).+\.gguf$/u);
  });

  test.each(hosted)('$build.id: size, context, memory and origin are plausible', ({ model, build }) => {
    expect(sizeOf(build)).toBeGreaterThan(200_000_000);
    expect(sizeOf(build) / 2 ** 30).toBeLessThan(model.min_ram_gb);
    expect(build.context_tokens).toBeGreaterThanOrEqual(32_768);
    expect(build.verification).toBe('corroborated');
    expect(model.cache).toBeDefined();
    expect(build.files.map(({ path }) => path)).toEqual(build.files.map(({ path }) => path).sort());
  });

  test('has models for a Mac with 8 GB and one with 16 GB', () => {
    for (const gigabytes of [8, 16]) {
      expect(hosted.filter(({ model }) => model.min_ram_gb === gigabytes).length).toBeGreaterThanOrEqual(2);
    }
  });
});

describe('the sources of a file', () => {
  const models = readCatalog();
  const buildOf = (id: string): HostedBuild => {
    const build = models.flatMap(({ builds }) => builds).find((each) => each.id === id);
    if (build?.source !== 'huggingface') throw new Error('no such build');
    return build;
  };
  const urls = (build: HostedBuild, endpoints?: string[]) =>
    sourcesOf(build, build.files.at(-1) ?? { path: '', size_bytes: 0, sha256: '' }, endpoints).map(({ url }) => url);

  test('begin with the repository at its revision', () => {
    expect(urls(buildOf('local/gpt-oss-20b-mxfp4'))).toEqual([
      'https://huggingface.co/ggml-org/gpt-oss-20b-GGUF/resolve/e1dc459feff949ff451ce107337a2026daa80df8/gpt-oss-20b-mxfp4.gguf',
    ]);
    expect(urls(buildOf('local/qwen3.5-122b-q4_k_m'))).toEqual([
      'https://huggingface.co/unsloth/Qwen3.5-122B-A10B-GGUF/resolve/main/Q4_K_M/Qwen3.5-122B-A10B-Q4_K_M-00003-of-00003.gguf',
    ]);
  });

  test('may be other hosts and mirrors, in their order', () => {
    const mirrors = [{ url: 'https://mirror.example/models/' }, { url: 'http://nas.local', plain_http: true as const }];
    const build = { ...buildOf('local/gpt-oss-20b-mxfp4'), revision: 'main', mirrors };
    expect(urls(build, ['http://127.0.0.1:1/'])).toEqual([
      'http://127.0.0.1:1/ggml-org/gpt-oss-20b-GGUF/resolve/main/gpt-oss-20b-mxfp4.gguf',
      'https://mirror.example/models/gpt-oss-20b-mxfp4.gguf',
      'http://nas.local/gpt-oss-20b-mxfp4.gguf',
    ]);
  });
});

describe('a catalogue is refused', () => {
  const whole = () => JSON.parse(readFileSync(join(PACKAGE_ROOT, 'models.json'), 'utf8')) as { models: Entry[] };
  interface Entry {
    builds: { files: Record<string, unknown>[] }[];
  }
  const spoilt = (spoil: (file: Record<string, unknown>) => void) => {
    const catalog = whole();
    const file = catalog.models[0]?.builds[0]?.files[0];
    if (file !== undefined) spoil(file);
    return catalog;
  };

  test('no, when it is whole', () => {
    expect(parseCatalog(whole())).toEqual(readCatalog());
  });

  test.each<[string, (file: Record<string, unknown>) => void]>([
    ['without a hash', (file) => (file['sha256'] = null)],
    ['with half a hash', (file) => (file['sha256'] = 'abc')],
    ['without a size', (file) => delete file['size_bytes']],
    ['with a path out of its folder', (file) => (file['path'] = '../model.gguf')],
    ['with a word that nobody knows', (file) => (file['sha265'] = 'x')],
  ])('with a file %s', (_, spoil) => {
    expect(() => parseCatalog(spoilt(spoil))).toThrow(z.ZodError);
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
