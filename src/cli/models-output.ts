import { z } from 'zod';
import { Unusable, type Candidate } from '../models/adopt.js';
import { Finder, RefusedModel } from '../models/places.js';
import type { Plan, PlanLine } from '../models/plan.js';
import { LEFTOVER_KINDS } from '../models/prune.js';
import { SchemaVersion } from './json-output.js';

/** What `models … --json` prints. */

const alias = z.string().describe('What clients call it');
const build = z.string().describe('Build id');
const quantization = z.string().describe('How the weights are stored, for example Q4_K_M');
const sizeBytes = z.int().describe('Size of all files, bytes');

export const ModelsListOutput = z.strictObject({
  schema_version: SchemaVersion,
  models: z
    .array(
      z.strictObject({
        alias,
        build,
        quantization,
        size_bytes: sizeBytes,
        memory_bytes: z.number().describe('Memory when loaded with the slots and the context of the settings, bytes'),
        path: z.string().describe('The file that is opened first'),
      }),
    )
    .describe('Models that a start offers'),
  refused: z.array(RefusedModel).describe('Models that are here and are not offered'),
});
export type ModelsListOutput = z.infer<typeof ModelsListOutput>;

export const ModelsCatalogOutput = z.strictObject({
  schema_version: SchemaVersion,
  models: z
    .array(
      z.strictObject({
        alias,
        build,
        quantization,
        size_bytes: sizeBytes,
        context_tokens: z.int().describe('Longest context of the model, tokens'),
        min_ram_gb: z.int().describe('Memory of the smallest Mac for it, GB'),
        license: z.string().describe('Licence of the weights'),
        installed: z.boolean().describe('It is on this machine'),
      }),
    )
    .describe('Builds of the catalogue, the best model first'),
});
export type ModelsCatalogOutput = z.infer<typeof ModelsCatalogOutput>;

const PlannedBuild = z.strictObject({
  alias,
  build,
  display_name: z.string().describe('Its name for people'),
  quantization,
  size_bytes: sizeBytes,
  fits: z
    .enum(['as_set', 'smaller', 'no'])
    .describe('`as_set`: with the slots and context of the settings; `smaller`: with the ones here'),
  slots: z.int().describe('Requests at once'),
  context_tokens: z.int().describe('Context of each, tokens'),
  needed_bytes: z.number().describe('The sum of the next four'),
  weight_bytes: z.number().describe('Weights'),
  kv_bytes: z.number().describe('KV cache of all slots'),
  compute_bytes: z.number().describe('Buffers for computing'),
  reserve_bytes: z.number().describe('Kept for other programs'),
  left_bytes: z.number().describe('What stays free of the limit; negative: so many bytes are missing'),
  is_estimate: z.boolean().describe('The catalogue does not know its cache'),
});

export const ModelsPlanOutput = z.strictObject({
  schema_version: SchemaVersion,
  machine: z.string().describe('`this machine`, or the Mac that was asked for'),
  limit_bytes: z.number().describe('The most that loaded models may take together'),
  models: z.array(PlannedBuild).describe('Builds that can be downloaded, the best model first'),
  recommended: build.optional().describe('The build to take; absent: nothing fits'),
});
export type ModelsPlanOutput = z.infer<typeof ModelsPlanOutput>;

export function planOutput(machine: string, { limitBytes, lines, recommended }: Plan): ModelsPlanOutput {
  return {
    schema_version: 1,
    machine,
    limit_bytes: limitBytes,
    models: lines.map(plannedBuild),
    ...(recommended === undefined ? {} : { recommended: recommended.id }),
  };
}

function plannedBuild(line: PlanLine): z.infer<typeof PlannedBuild> {
  const { neededBytes, weightBytes, kvBytes, computeBytes, reserveBytes } = line.sum;
  return {
    alias: line.alias,
    build: line.id,
    display_name: line.displayName,
    quantization: line.quantization,
    size_bytes: line.downloadBytes,
    fits: line.fits,
    slots: line.rows,
    context_tokens: line.contextTokens,
    needed_bytes: neededBytes,
    weight_bytes: weightBytes,
    kv_bytes: kvBytes,
    compute_bytes: computeBytes,
    reserve_bytes: reserveBytes,
    left_bytes: line.leftBytes,
    is_estimate: line.isEstimate,
  };
}

export const ModelsAdoptOutput = z.strictObject({
  schema_version: SchemaVersion,
  candidates: z
    .array(
      z.strictObject({
        name: z.string().describe('What its application calls it, and `models adopt` too'),
        found_in: Finder.describe('Whose file it is'),
        paths: z.array(z.string()).describe('Its files, the one that is opened first at the front'),
        size_bytes: sizeBytes,
        quantization,
        likely_build: build.optional().describe('The build of the catalogue that it seems to be'),
      }),
    )
    .describe('Models of other applications that could be used in place'),
  unusable: z.array(Unusable).describe('Files that look like models and cannot be used'),
});
export type ModelsAdoptOutput = z.infer<typeof ModelsAdoptOutput>;

export const ModelsPruneOutput = z.strictObject({
  schema_version: SchemaVersion,
  leftovers: z
    .array(
      z.strictObject({
        path: z.string().describe('A file or a folder'),
        size_bytes: z.number().describe('With all that is in it'),
        kind: z.enum(LEFTOVER_KINDS).describe('A word for scripts'),
        reason: z.string().describe('A sentence for the owner'),
      }),
    )
    .describe('What no longer serves'),
  total_bytes: z.number().describe('Together'),
  busy: z
    .array(
      z.strictObject({
        path: z.string().describe('The folder'),
        pid: z.int().describe('The process that downloads to it'),
      }),
    )
    .describe('Folders that are left alone'),
});
export type ModelsPruneOutput = z.infer<typeof ModelsPruneOutput>;

export function candidateOutput(candidate: Candidate): ModelsAdoptOutput['candidates'][number] {
  const { name, foundIn, paths, sizeBytes: size_bytes, quantization, likelyBuild } = candidate;
  return {
    name,
    found_in: foundIn,
    paths,
    size_bytes,
    quantization,
    ...(likelyBuild === undefined ? {} : { likely_build: likelyBuild }),
  };
}
