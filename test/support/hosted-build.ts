import { createHash } from 'node:crypto';
import { parseCatalog, type CatalogModel, type HostedBuild } from '../../src/models/catalog.js';
import type { DownloadLimits } from '../../src/models/download.js';
import type { RangeServer } from './range-server.js';

export const SEGMENT_BYTES = 64 * 1024;

/** Bounds of a download that let a story take milliseconds. */
export const QUICK_LIMITS: Partial<DownloadLimits> = {
  segmentBytes: SEGMENT_BYTES,
  attempts: 3,
  backoffMs: 5,
  maxBackoffMs: 20,
  stallMs: 10_000, // a busy machine is no stalled server
  keepFreeBytes: 0,
};

const REPOSITORY = '/someone/Story-GGUF/resolve/main';

export function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Bytes that look random and are the same for the same seed. */
export function seededBytes(seed: number, length: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, index) =>
    createHash('sha256').update(`${seed}.${index}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, length);
}

/** Numbers from 0 to below 1 that are the same for the same seed. */
export function seededNumbers(seed: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => seededBytes(seed + index, 4).readUInt32LE() / 2 ** 32);
}

/** The catalogue entry of a model with these files, one build. */
export function hostedModel(
  files: ReadonlyMap<string, Buffer>,
  { mirrors = [] }: { mirrors?: readonly string[] } = {},
): { model: CatalogModel; build: HostedBuild } {
  const [model] = parseCatalog({
    schema_version: 1,
    models: [
      {
        alias: 'story',
        display_name: 'Story',
        family: 'story',
        architecture: 'llama',
        description: 'A model of a test.',
        license: 'CC0-1.0',
        min_ram_gb: 8,
        max_output_tokens: 256,
        capabilities: ['chat'],
        builds: [
          {
            id: 'local/story-f16',
            quantization: 'F16',
            context_tokens: 2048,
            source: 'huggingface',
            repo: 'someone/Story-GGUF',
            revision: 'main',
            mirrors: mirrors.map((url) => ({ url })),
            verification: 'single_source',
            provenance: ['made by the test'],
            files: [...files].map(([path, data]) => ({ path, size_bytes: data.length, sha256: sha256(data) })),
          },
        ],
      },
    ],
  });
  const build = model?.builds[0];
  if (model === undefined || build?.source !== 'huggingface') throw new Error('not a hosted build');
  return { model, build };
}

/** Lets a server hold files where Hugging Face would, or in a mirror's folder. */
export function serve(server: RangeServer, files: ReadonlyMap<string, Buffer>, folder = REPOSITORY): void {
  for (const [name, data] of files) server.files.set(`${folder}/${name}`, data);
}
