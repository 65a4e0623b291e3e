import { z } from 'zod';
import { sizeOf, weightHash } from '../models/catalog.js';
import type { Alias, Build } from './registry.js';

/** What an administrator may say of models: bodies of the routes under `/v1/admin`. */

const MAX_ID_CHARACTERS = 200;
const MAX_WORD_CHARACTERS = 100;
const MAX_TEXT_CHARACTERS = 2_000;
const MAX_FILES = 500;
const MAX_CAPABILITIES = 32;
const MAX_TOKENS = 100_000_000;
const MAX_RAM_GB = 100_000;
/** Micro-USD per million tokens. */
const MAX_PRICE = 1_000_000_000_000;

export const ModelId = z
  .string()
  .max(MAX_ID_CHARACTERS)
  .regex(/^[A-Za-z0-9._-][A-Za-z0-9._/-]*$/u, 'must be letters, digits, dot, dash, underscore and slash')
  .refine((id) => !id.includes('..'), 'must not contain ..');
const Version = z
  .string()
  .max(MAX_WORD_CHARACTERS)
  .regex(/^[A-Za-z0-9._-]+$/u, 'must be letters, digits, dot, dash and underscore')
  .refine((version) => !version.includes('..'), 'must not contain ..');
const Word = z.string().trim().min(1).max(MAX_WORD_CHARACTERS);
const Facts = z.record(z.string().max(MAX_WORD_CHARACTERS), z.unknown());
const PriceOfMillion = z.int().min(1).max(MAX_PRICE);

/** The rules for a manifest's paths: docs/protocol.md has the hashes over them. */
const RelativePath = z
  .string()
  .min(1)
  .max(MAX_TEXT_CHARACTERS)
  .refine(
    (path) => !path.includes('\\') && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..'),
    'must be a relative path with /, without ..',
  );

const File = z.strictObject({
  path: RelativePath,
  size_bytes: z.int().min(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/u, 'must be 64 hexadecimal digits'),
});

export const NewModel = z
  .strictObject({
    model_id: ModelId,
    version: Version.default('v1'),
    display_name: Word,
    family: Word,
    architecture: Word,
    quantization: Word,
    max_context_length: z.int().min(1).max(MAX_TOKENS),
    max_output_length: z.int().min(1).max(MAX_TOKENS),
    min_ram_gb: z.number().min(0).max(MAX_RAM_GB),
    capabilities: z.array(Word).max(MAX_CAPABILITIES).default(['chat']),
    description: z.string().max(MAX_TEXT_CHARACTERS).default(''),
    runtime_parameters: Facts.default({}),
    metadata: Facts.default({}),
    files: z
      .array(File)
      .max(MAX_FILES)
      .refine((files) => new Set(files.map(({ path }) => path.toLowerCase())).size === files.length, {
        error: 'must not name a path twice',
      })
      .default([]),
    source: Word.default('own'),
    promote: z.boolean().default(false),
    input_price: PriceOfMillion.optional(),
    output_price: PriceOfMillion.optional(),
  })
  .refine(({ input_price: input, output_price: output }) => input !== undefined || output === undefined, {
    path: ['input_price'],
    error: 'must be given with output_price',
  })
  .refine(({ input_price: input, output_price: output }) => output !== undefined || input === undefined, {
    path: ['output_price'],
    error: 'must be given with input_price',
  });
export type NewModel = z.infer<typeof NewModel>;

export function buildOf(model: NewModel, now: number): Build {
  const { files } = model;
  return {
    id: model.model_id,
    displayName: model.display_name,
    family: model.family,
    architecture: model.architecture,
    quantization: model.quantization,
    sizeBytes: sizeOf({ files }),
    contextLength: model.max_context_length,
    maxOutputLength: model.max_output_length,
    minRamGb: model.min_ram_gb,
    weightHash: files.length === 0 ? undefined : weightHash(files),
    files: files.map(({ path, size_bytes: sizeBytes, sha256 }) => ({ path, sizeBytes, sha256 })),
    source: model.source,
    capabilities: model.capabilities,
    version: model.version,
    description: model.description,
    runtimeParameters: model.runtime_parameters,
    metadata: model.metadata,
    active: model.promote,
    createdAt: now,
  };
}

export const ModelChanges = z.strictObject({ active: z.boolean() });

/** What an alias shall stand for. Without `previous_build`, a build that is replaced becomes the previous one. */
export const AliasWish = z.strictObject({
  display_name: Word.optional(),
  desired_build: ModelId,
  previous_build: ModelId.nullish(),
});

/** The alias after the wish. Builds that it no longer stands for are remembered as retired. */
export function aliasAfter(id: string, current: Alias | undefined, wish: z.infer<typeof AliasWish>): Alias {
  const { desired_build: desiredBuild } = wish;
  const replaced = current?.desiredBuild === desiredBuild ? current.previousBuild : current?.desiredBuild;
  const previous = wish.previous_build === undefined ? replaced : (wish.previous_build ?? undefined);
  const previousBuild = previous === desiredBuild ? undefined : previous;
  const before = current === undefined ? [] : [...current.retiredBuilds, current.previousBuild, current.desiredBuild];
  const retired = before.filter((build) => build !== undefined && build !== desiredBuild && build !== previousBuild);
  return {
    id,
    displayName: wish.display_name ?? current?.displayName ?? id,
    desiredBuild,
    previousBuild,
    retiredBuilds: [...new Set(retired.flatMap((build) => build ?? []))],
  };
}

export const PriceWish = z.strictObject({ model: ModelId, input_price: PriceOfMillion, output_price: PriceOfMillion });
export const PricedModel = z.strictObject({ model: ModelId });
