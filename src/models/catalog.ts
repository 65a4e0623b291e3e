import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { PACKAGE_ROOT } from '../util/version.js';

/** The catalogue of this package (models.json): which models exist, and which GGUF files are a build of them. */

const CatalogFile = z.strictObject({
  path: z.string().regex(/^[^/\\]+$/, 'a plain file name'),
  size_bytes: z.number().int().positive(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const CatalogBuild = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/),
  quantization: z.string(),
  context_tokens: z.number().int().positive(),
  /** `package`: the files lie in `assets/`. */
  source: z.literal('package'),
  files: z.array(CatalogFile).min(1),
});
export type CatalogBuild = z.infer<typeof CatalogBuild>;

const CatalogModel = z.strictObject({
  /** What consumers call it. */
  alias: z.string(),
  display_name: z.string(),
  family: z.string(),
  architecture: z.string(),
  description: z.string(),
  license: z.string(),
  min_ram_gb: z.number().int().positive(),
  max_output_tokens: z.number().int().positive(),
  capabilities: z.array(z.enum(['chat'])),
  /** The first one is the build that the alias stands for. */
  builds: z.array(CatalogBuild).min(1),
});
export type CatalogModel = z.infer<typeof CatalogModel>;

const Catalog = z.strictObject({ schema_version: z.literal(1), models: z.array(CatalogModel) });

export function readCatalog(): CatalogModel[] {
  return Catalog.parse(JSON.parse(readFileSync(join(PACKAGE_ROOT, 'models.json'), 'utf8'))).models;
}

/** The manifest's aggregate: SHA-256 over the raw digests of the files, in the byte order of their paths. This is the
 *  `weight_hash` of the wire (docs/protocol.md). */
export function weightHash(files: readonly { path: string; sha256: string }[]): string {
  const hash = createHash('sha256');
  const inOrder = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  for (const { sha256 } of inOrder) hash.update(Buffer.from(sha256, 'hex'));
  return hash.digest('hex');
}
