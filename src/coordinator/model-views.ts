import type { JsonObject } from '../inference/types.js';
import { formatUsdPerMillion, type Price } from './billing.js';
import type { Alias, Build, Registry } from './registry.js';

const SAMPLING_PARAMETERS = [
  'temperature',
  'top_p',
  'top_k',
  'frequency_penalty',
  'presence_penalty',
  'repetition_penalty',
  'stop',
  'seed',
  'max_tokens',
];
const GIGABYTE = 1e9;

/** What a model can do beside text, in the words of the API. */
const FEATURES = ['json_mode', 'logprobs', 'reasoning', 'structured_outputs', 'tools', 'web_search'];

export function featuresOf({ capabilities }: Build): string[] {
  return FEATURES.filter((feature) => capabilities.includes(feature));
}

/** What a build is, as `/v1/models` shows it: of a build itself, not of an alias. */
export function concreteFacts({ quantization, metadata }: Build): JsonObject {
  const huggingFaceId = textOf(metadata['hugging_face_id']);
  const bits = bitsOf(quantization);
  return {
    ...(huggingFaceId === undefined ? {} : { hugging_face_id: huggingFaceId }),
    ...(bits === undefined ? {} : { quantization: bits }),
  };
}

/** What may be shown of a model under either name. */
export function describedFacts({ description, metadata }: Build): JsonObject {
  const deprecated = textOf(metadata['deprecation_date']);
  return {
    ...(description === '' ? {} : { description }),
    ...(deprecated === undefined ? {} : { deprecation_date: deprecated }),
  };
}

/** The API knows few words for quantizations: 2 and 3 bits count as int4, 5 and 6 as fp6. */
function bitsOf(quantization: string): string | undefined {
  const word = quantization.toUpperCase();
  if (word === 'F16' || word === 'FP16') return 'fp16';
  if (word === 'F32' || word === 'FP32') return 'fp32';
  if (word === 'BF16') return 'bf16';
  if (/^MXFP4|^NVFP4/u.test(word)) return 'fp4';
  const bits = /^(?:I?Q|TQ)(\d)/u.exec(word)?.[1];
  const words: Record<string, string> = { 1: 'int4', 2: 'int4', 3: 'int4', 4: 'int4', 5: 'fp6', 6: 'fp6', 8: 'int8' };
  return bits === undefined ? undefined : words[bits];
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A build as the provider-facing catalogue shows it. */
export function catalogEntry(build: Build): JsonObject {
  return {
    id: build.id,
    s3_name: build.id,
    display_name: build.displayName,
    model_type: outputOf(build),
    size_gb: build.sizeBytes / GIGABYTE,
    architecture: build.architecture,
    description: build.description,
    min_ram_gb: build.minRamGb,
    active: build.active,
    ...(build.weightHash === undefined ? {} : { weight_hash: build.weightHash, aggregate_sha256: build.weightHash }),
    family: build.family,
    quantization: build.quantization,
    max_context_length: build.contextLength,
    max_output_length: build.maxOutputLength,
    capabilities: build.capabilities,
    runtime_parameters: build.runtimeParameters,
    metadata: build.metadata,
    status: build.active ? 'active' : 'inactive',
    name: build.displayName,
    hugging_face_id: textOf(build.metadata['hugging_face_id']) ?? '',
    input_modalities: ['text'],
    output_modalities: [outputOf(build)],
    supported_features: featuresOf(build),
    supported_sampling_parameters: samplingOf(build),
    created: Math.floor(build.createdAt / 1_000),
    version: build.version,
    total_size_bytes: build.sizeBytes,
    file_count: build.files.length,
    format: 'gguf',
    files: build.files.map(({ path, sizeBytes, sha256 }) => ({ path, size_bytes: sizeBytes, sha256 })),
    source: build.source,
  };
}

/** The files of a build and the hash over them. */
export function manifestOf(build: Build): JsonObject {
  return {
    schema_version: 1,
    model_id: build.id,
    version: build.version,
    ...(build.weightHash === undefined ? {} : { aggregate_sha256: build.weightHash }),
    total_size_bytes: build.sizeBytes,
    file_count: build.files.length,
    files: build.files.map(({ path, sizeBytes, sha256 }) => ({ path, size_bytes: sizeBytes, sha256, role: 'weight' })),
    created_at: new Date(build.createdAt).toISOString(),
  };
}

/** `primary_build` is the one that answers now; an alias whose builds are all retired has none. */
export function aliasEntry(alias: Alias, registry: Registry): JsonObject {
  const { id, displayName, desiredBuild, previousBuild, retiredBuilds } = alias;
  const primary = registry.resolve(id)?.builds[0];
  return {
    id,
    display_name: displayName,
    desired_build: desiredBuild,
    ...(previousBuild === undefined ? {} : { previous_build: previousBuild }),
    retired_builds: retiredBuilds,
    ...(primary === undefined ? {} : { primary_build: primary.id }),
  };
}

/** One row of the price list, or none. */
export function priceRow(model: string, price: Price | undefined): JsonObject[] {
  if (price === undefined) return [];
  return [
    {
      model,
      input_price: Number(price.input),
      output_price: Number(price.output),
      input_usd: formatUsdPerMillion(price.input),
      output_usd: formatUsdPerMillion(price.output),
    },
  ];
}

/** What comes out of a model. */
export function outputOf({ capabilities }: Build): 'text' | 'embedding' {
  return capabilities.includes('embeddings') ? 'embedding' : 'text';
}

export function samplingOf(build: Build): readonly string[] {
  return outputOf(build) === 'text' ? SAMPLING_PARAMETERS : [];
}
