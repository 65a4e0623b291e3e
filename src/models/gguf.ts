import { statSync } from 'node:fs';
import { readGgufFileInfo, type GgufFileInfo } from 'node-llama-cpp';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { templateRenders } from '../inference/prompt.js';
import { templateThinks } from '../inference/syntax/syntax-of.js';
import type { ModelShape } from '../inference/footprint.js';
import { Architecture, shapeOf } from './gguf-shape.js';

/** What a GGUF file says of itself. */
export interface GgufFacts {
  architecture: string;
  /** `Q4_K_M`, `F16`; `unknown` for a type this version does not name. */
  quantization: string;
  sizeBytes: number;
  trainedContextTokens: number;
  shape: ModelShape;
  templateRenderOk: boolean;
  /** For vectors of texts, not for answers. */
  task?: 'vectors';
  /** Its template has a place for thoughts. */
  thinks?: true;
}

/** `general.file_type` → name. */
const FILE_TYPES: Record<number, string> = {
  0: 'F32', 1: 'F16', 2: 'Q4_0', 3: 'Q4_1', 7: 'Q8_0', 8: 'Q5_0', 9: 'Q5_1', 10: 'Q2_K', 11: 'Q3_K_S', 12: 'Q3_K_M',
  13: 'Q3_K_L', 14: 'Q4_K_S', 15: 'Q4_K_M', 16: 'Q5_K_S', 17: 'Q5_K_M', 18: 'Q6_K', 25: 'IQ4_NL', 30: 'IQ4_XS',
  32: 'BF16', 38: 'MXFP4',
}; // prettier-ignore

/** Tensor type → values of a block and bytes of a block, for the types that can be the last one in a file. */
const BLOCKS: Record<number, readonly [values: number, bytes: number]> = {
  0: [1, 4], 1: [1, 2], 2: [32, 18], 3: [32, 20], 6: [32, 22], 7: [32, 24], 8: [32, 34], 10: [256, 84], 11: [256, 110],
  12: [256, 144], 13: [256, 176], 14: [256, 210], 20: [32, 18], 23: [256, 136], 30: [1, 2], 39: [32, 17],
}; // prettier-ignore

/** llama.cpp's number for a pooling that ranks. */
const RANKING = 4;
/** Architectures that read a text as a whole and write none. */
const ENCODERS: ReadonlySet<string> = new Set([
  'bert', 'modern-bert', 'neo-bert', 'eurobert', 'nomic-bert', 'nomic-bert-moe', 'jina-bert-v2', 'jina-bert-v3',
  'gemma-embedding', 't5encoder',
]); // prettier-ignore

/** Reads the header and checks that all tensor data is there.
 *  @throws DarkbloomError `model_corrupt` saying what is wrong with which file and what to do. */
export async function readGguf(path: string): Promise<GgufFacts> {
  const parts = splitParts(path);
  const sizes = parts.map(fileSize);
  const info = await readHeader(path);
  const tensors = info.fullTensorInfo ?? info.tensorInfo ?? [];
  for (const [index, part] of parts.entries()) {
    const end = Math.max(0, ...tensors.filter(({ filePart }) => filePart === index + 1).map(tensorEnd));
    const sizeBytes = sizes[index] ?? 0;
    if (end > sizeBytes) {
      throw corrupt(part, `it is cut short: ${sizeBytes} bytes, its header speaks of at least ${end}`);
    }
  }
  const { tokenizer, general } = info.metadata;
  const parsed = Architecture.safeParse(info.architectureMetadata);
  if (!parsed.success || tokenizer?.ggml === undefined) {
    throw corrupt(path, 'its header lacks what a text model needs');
  }
  const { tokens = [], bos_token_id: bos, eos_token_id: eos } = tokenizer.ggml;
  const sizeBytes = sizes.reduce((sum, size) => sum + size, 0);
  return {
    architecture: general.architecture,
    quantization: FILE_TYPES[general.file_type ?? -1] ?? 'unknown',
    sizeBytes,
    trainedContextTokens: parsed.data.context_length,
    shape: shapeOf(general.architecture, parsed.data, sizeBytes),
    ...(isForVectors(path, general.architecture, parsed.data.pooling_type) ? { task: 'vectors' as const } : {}),
    ...(templateThinks(tokenizer.chat_template) ? { thinks: true as const } : {}),
    templateRenderOk: templateRenders({
      template: tokenizer.chat_template,
      bosToken: bos === undefined ? '' : (tokens[bos] ?? ''),
      eosToken: eos === undefined ? '' : (tokens[eos] ?? ''),
    }),
  };
}

/** Whether a model makes vectors of texts: its header says how they are pooled, or its kind can do nothing else.
 *  @throws DarkbloomError `not_supported` for a reranker. */
function isForVectors(path: string, architecture: string, pooling: number | undefined): boolean {
  if (pooling === RANKING) {
    throw new DarkbloomError(
      'not_supported',
      `The model file ${path} is a reranker, which nothing here can use. Take it out of [models.files] in the settings.`,
    );
  }
  return (pooling ?? 0) > 0 || ENCODERS.has(architecture);
}

/** All files of the model that begins with this one: `name-00001-of-00003.gguf` and its followers, else itself. */
export function splitParts(path: string): string[] {
  const found = /^(.*)-00001-of-(\d{5})\.gguf$/u.exec(path);
  if (found === null) return [path];
  const [, stem = '', count = ''] = found;
  return Array.from({ length: Number(count) }, (_, index) => {
    return `${stem}-${String(index + 1).padStart(5, '0')}-of-${count}.gguf`;
  });
}

function fileSize(path: string): number {
  try {
    return statSync(path).size;
  } catch (cause) {
    const why = systemErrorCode(cause) === 'ENOENT' ? 'there is no such file' : 'it cannot be read';
    throw corrupt(path, why, cause);
  }
}

async function readHeader(path: string): Promise<GgufFileInfo> {
  try {
    return await readGgufFileInfo(path, { sourceType: 'filesystem', logWarnings: false });
  } catch (cause) {
    throw corrupt(path, 'it is not a whole GGUF file', cause);
  }
}

/** Where the data of a tensor ends in the file; where it begins, for a type this version does not know. */
function tensorEnd(tensor: NonNullable<GgufFileInfo['tensorInfo']>[number]): number {
  const [values, bytes] = BLOCKS[tensor.ggmlType] ?? [1, 0];
  const count = tensor.dimensions.reduce<number>((product, size) => product * Number(size), 1);
  return Number(tensor.fileOffset) + (count / values) * bytes;
}

function corrupt(path: string, why: string, cause?: unknown): DarkbloomError {
  return new DarkbloomError(
    'model_corrupt',
    `The model file ${path} cannot be used: ${why}. Replace the file, or take it out of [models.files] in the settings.`,
    { cause },
  );
}
