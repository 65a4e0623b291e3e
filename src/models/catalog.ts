import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { ModelShape } from '../inference/footprint.js';
import { PACKAGE_ROOT } from '../util/version.js';

/** The catalogue of this package (models.json): which models exist, and which GGUF files are a build of them. */

/** The host of every build with `source: "huggingface"`. */
const HUGGING_FACE = 'https://huggingface.co';

const CatalogFile = z.strictObject({
  path: z.string().regex(/^[^/\\]+$/, 'a plain file name'),
  size_bytes: z.number().int().positive(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type CatalogFile = z.infer<typeof CatalogFile>;

const Build = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/),
  quantization: z.string(),
  context_tokens: z.number().int().positive(),
  /** All files of the build, the one that is opened first. */
  files: z.array(CatalogFile).min(1),
});

/** Its files lie in `assets/`. */
const PackagedBuild = Build.extend({ source: z.literal('package') });

/** Its files are downloaded. */
const HostedBuild = Build.extend({
  source: z.literal('huggingface'),
  repo: z.string().regex(/^[^/\s]+\/[^/\s]+$/, 'owner/name'),
  /** A commit; `main` where none is known. The hash decides in any case. */
  revision: z.string().regex(/^(main|[0-9a-f]{40})$/),
  /** Where in the repository the files lie; absent: at its root. */
  folder: z.string().min(1).optional(),
  /** Folders elsewhere that hold the same files, tried in this order after the repository. */
  mirrors: z
    .array(
      z.strictObject({
        url: z.url({ protocol: /^https?$/ }),
        /** Plain HTTP to another machine is meant. */
        plain_http: z.literal(true).optional(),
      }),
    )
    .default([]),
  /** How sure size and hash are: seen alike in unrelated public files, or in one. */
  verification: z.enum(['corroborated', 'single_source']),
  /** Where size and hash were seen. */
  provenance: z.array(z.string().min(1)).min(1),
});
export type HostedBuild = z.infer<typeof HostedBuild>;

const CatalogBuild = z.discriminatedUnion('source', [PackagedBuild, HostedBuild]);
export type CatalogBuild = z.infer<typeof CatalogBuild>;

const CachedLayers = z.strictObject({
  layers: z.number().int().nonnegative(),
  kv_heads: z.number().int().positive(),
  key_length: z.number().int().positive(),
  value_length: z.number().int().positive(),
});

/** What a plan needs to know before there is a file to look into. */
const Cache = CachedLayers.extend({
  window: CachedLayers.extend({ tokens: z.number().int().positive() }).optional(),
  state_bytes: z.number().int().positive().optional(),
});

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
  /** `reasoning`: it thinks before it answers, where its template lets it. */
  capabilities: z.array(z.enum(['chat', 'reasoning'])),
  /** Absent: not known, and a plan says that its sum is an estimate. */
  cache: Cache.optional(),
  /** The first one is the build that the alias stands for. */
  builds: z.array(CatalogBuild).min(1),
});
export type CatalogModel = z.infer<typeof CatalogModel>;

/** The models stand in the order in which they are recommended, the best first. */
const Catalog = z.strictObject({ schema_version: z.literal(1), models: z.array(CatalogModel) });

export function readCatalog(): CatalogModel[] {
  return parseCatalog(JSON.parse(readFileSync(join(PACKAGE_ROOT, 'models.json'), 'utf8')));
}

/** @throws z.ZodError when it is not a catalogue. */
export function parseCatalog(value: unknown): CatalogModel[] {
  return Catalog.parse(value).models;
}

/** The size of all files, bytes. */
export function sizeOf(build: Pick<CatalogBuild, 'files'>): number {
  return build.files.reduce((sum, file) => sum + file.size_bytes, 0);
}

/** The memory facts of a build, `undefined` where the catalogue does not have them. */
export function knownShape({ cache }: CatalogModel, build: CatalogBuild): ModelShape | undefined {
  if (cache === undefined) return undefined;
  const { window, state_bytes: stateBytes } = cache;
  return {
    weightBytes: sizeOf(build),
    ...layersOf(cache),
    ...(window === undefined ? {} : { window: { tokens: window.tokens, ...layersOf(window) } }),
    ...(stateBytes === undefined ? {} : { stateBytes }),
  };
}

function layersOf(cached: z.infer<typeof CachedLayers>) {
  return {
    layers: cached.layers,
    kvHeads: cached.kv_heads,
    keyLength: cached.key_length,
    valueLength: cached.value_length,
  };
}

/** One place a file can be had from. */
export interface Source {
  url: string;
  /** Plain HTTP to another machine is meant. */
  plainHttp: boolean;
}

/** Where a file of a build can be had, to be tried in this order. `endpoints` are hosts laid out like Hugging Face. */
export function sourcesOf(
  build: HostedBuild,
  file: CatalogFile,
  endpoints: readonly string[] = [HUGGING_FACE],
): Source[] {
  const folder = build.folder === undefined ? [] : build.folder.split('/');
  const path = [...build.repo.split('/'), 'resolve', build.revision, ...folder].map(encodeURIComponent).join('/');
  const bases: Source[] = [
    ...endpoints.map((endpoint) => ({ url: `${endpoint.replace(/\/+$/u, '')}/${path}`, plainHttp: false })),
    ...build.mirrors.map(({ url, plain_http }) => ({ url: url.replace(/\/+$/u, ''), plainHttp: plain_http ?? false })),
  ];
  return bases.map(({ url, plainHttp }) => ({ url: `${url}/${encodeURIComponent(file.path)}`, plainHttp }));
}

/** The manifest's aggregate: SHA-256 over the raw digests of the files, in the byte order of their paths. This is the
 *  `weight_hash` of the wire (docs/protocol.md). */
export function weightHash(files: readonly { path: string; sha256: string }[]): string {
  const hash = createHash('sha256');
  const inOrder = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  for (const { sha256 } of inOrder) hash.update(Buffer.from(sha256, 'hex'));
  return hash.digest('hex');
}
