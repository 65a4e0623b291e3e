import { footprint, RESERVE_BYTES, type Footprint, type KvType, type ModelShape } from '../inference/footprint.js';
import { knownShape, sizeOf, type CatalogBuild, type CatalogModel } from './catalog.js';

/** Which models of the catalogue fit in a machine's memory, with the sum. Pure. */

const SMALLEST_CONTEXT_TOKENS = 2048;
/** A cache that is not known: so large a share of the weights for each row of `GUESSED_TOKENS`. */
const GUESSED_SHARE = 0.1;
const GUESSED_TOKENS = 8192;

interface PlanInput {
  catalog: readonly CatalogModel[];
  /** The most that loaded models may take: on a Mac `macEngineLimit` of its memory. */
  limitBytes: number;
  /** Requests at once and context of each, as in the settings. */
  rows: number;
  contextTokens: number;
  /** Absent: f16. */
  kvType?: KvType | undefined;
}

/** How many requests at once, and how long each may be. */
interface Size {
  rows: number;
  contextTokens: number;
}

/** How a model fits under a limit. */
export interface Fit extends Size {
  /** `as_set`: with the slots and the context that were asked for; `smaller`: with the ones given here. */
  fits: 'as_set' | 'smaller' | 'no';
  /** Of the slots and context given here; of the smallest ones tried where it does not fit. */
  sum: Footprint & { reserveBytes: number; neededBytes: number };
  /** Bytes of the limit that stay free; negative: so many are missing. */
  leftBytes: number;
}

export interface PlanLine extends Fit {
  id: string;
  alias: string;
  displayName: string;
  quantization: string;
  downloadBytes: number;
  /** The catalogue does not know the cache: the sum is an estimate. */
  isEstimate: boolean;
}

/** `rows` and `contextTokens` are those of the settings. */
export interface Plan extends Size {
  limitBytes: number;
  /** All builds that can be downloaded, the best model first. */
  lines: PlanLine[];
  /** The build to take: the first that fits as set, else the first that fits at all. */
  recommended?: PlanLine;
}

export function planFor(input: PlanInput): Plan {
  const lines = input.catalog.flatMap((model) =>
    model.builds.filter(({ source }) => source !== 'package').map((build) => lineOf(model, build, input)),
  );
  const recommended = lines.find(({ fits }) => fits === 'as_set') ?? lines.find(({ fits }) => fits === 'smaller');
  const { limitBytes, rows, contextTokens } = input;
  return { limitBytes, rows, contextTokens, lines, ...(recommended === undefined ? {} : { recommended }) };
}

function lineOf(
  model: CatalogModel,
  build: CatalogBuild,
  { limitBytes, rows, contextTokens, kvType }: PlanInput,
): PlanLine {
  const known = knownShape(model, build);
  const shape = known ?? guessedShape(sizeOf(build));
  return {
    id: build.id,
    alias: model.alias,
    displayName: model.display_name,
    quantization: build.quantization,
    downloadBytes: sizeOf(build),
    ...fitOf(shape, { limitBytes, rows, contextTokens: Math.min(contextTokens, build.context_tokens), kvType }),
    isEstimate: known === undefined,
  };
}

/** The wanted slots and context under the limit, or smaller ones that fit. */
export function fitOf(shape: ModelShape, { limitBytes, kvType, ...wanted }: Omit<PlanInput, 'catalog'>): Fit {
  const sums = sizesToTry(wanted).map((size) => ({ size, sum: sumOf(shape, size, kvType) }));
  const fitting = sums.findIndex(({ sum }) => sum.neededBytes <= limitBytes);
  const { size, sum } = sums.at(fitting) ?? { size: wanted, sum: sumOf(shape, wanted, kvType) }; // none: -1 is the smallest
  return {
    fits: fitting === 0 ? 'as_set' : fitting > 0 ? 'smaller' : 'no',
    rows: size.rows,
    contextTokens: size.contextTokens,
    sum,
    leftBytes: limitBytes - sum.neededBytes,
  };
}

function sumOf(shape: ModelShape, { rows, contextTokens }: Size, kvType: KvType | undefined): PlanLine['sum'] {
  const sum = footprint(shape, rows, contextTokens, kvType);
  return { ...sum, reserveBytes: RESERVE_BYTES, neededBytes: sum.totalBytes + RESERVE_BYTES };
}

/** The wanted size first, then fewer requests at once, then shorter ones. */
function sizesToTry({ rows, contextTokens }: Size): Size[] {
  const sizes: Size[] = [];
  for (let fewer = rows; fewer >= 1; fewer = Math.floor(fewer / 2)) sizes.push({ rows: fewer, contextTokens });
  for (let shorter = contextTokens / 2; shorter >= SMALLEST_CONTEXT_TOKENS; shorter /= 2) {
    sizes.push({ rows: 1, contextTokens: Math.floor(shorter) });
  }
  return sizes;
}

function guessedShape(weightBytes: number): ModelShape {
  // one layer with one head, as wide as the guess for a token needs: two bytes for each value
  const bytesPerToken = (weightBytes * GUESSED_SHARE) / GUESSED_TOKENS;
  return {
    weightBytes,
    layers: 1,
    kvHeads: 1,
    keyLength: Math.ceil(bytesPerToken / 4),
    valueLength: Math.ceil(bytesPerToken / 4),
  };
}
