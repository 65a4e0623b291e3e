import { z } from 'zod';
import type { ModelShape } from '../inference/footprint.js';

/** What the header of a GGUF file says of the model's layers, and what that means for memory. Pure. */

const PerLayer = z.union([z.number(), z.array(z.number())]);

export const Architecture = z.object({
  block_count: z.number(),
  context_length: z.number(),
  embedding_length: z.number(),
  /** Every so many layers one has full attention, the others are recurrent. */
  full_attention_interval: z.number().positive().optional(),
  /** How the states of a text become one vector: 0 not at all, 1 mean, 2 first, 3 last, 4 as a rank. */
  pooling_type: z.number().optional(),
  /** Layers at the end that only guess tokens ahead. */
  nextn_predict_layers: z.number().optional(),
  attention: z.object({
    head_count: PerLayer,
    head_count_kv: PerLayer.optional(),
    key_length: z.number().optional(),
    value_length: z.number().optional(),
    key_length_swa: z.number().optional(),
    value_length_swa: z.number().optional(),
    sliding_window: z.number().optional(),
    sliding_window_pattern: z.union([z.number(), z.array(z.union([z.boolean(), z.number()]))]).optional(),
    /** Layers at the end that use the cache of earlier ones. */
    shared_kv_layers: z.number().optional(),
  }),
  ssm: z
    .object({
      conv_kernel: z.number(),
      inner_size: z.number(),
      state_size: z.number(),
      group_count: z.number().default(0),
    })
    .optional(),
});
type Architecture = z.infer<typeof Architecture>;

/** Every so many layers one has full attention, where the header gives a window and no pattern. */
const WINDOW_PATTERNS: Readonly<Record<string, number>> = { 'gpt-oss': 2, gemma2: 2, gemma3: 6 };
const STATE_VALUE_BYTES = 4; // f32

/** The memory facts of a model. What is not understood counts as a layer with full attention: the safe side. */
export function shapeOf(name: string, architecture: Architecture, weightBytes: number): ModelShape {
  const { attention, block_count: blocks, full_attention_interval: interval } = architecture;
  const headCount = Array.isArray(attention.head_count) ? Math.max(...attention.head_count) : attention.head_count;
  const headLength = architecture.embedding_length / headCount;
  const keyLength = attention.key_length ?? headLength;
  const valueLength = attention.value_length ?? headLength;
  const headsKv = attention.head_count_kv ?? attention.head_count;
  const heads = (layer: number) => (Array.isArray(headsKv) ? (headsKv[layer] ?? 0) : headsKv);

  const last = blocks - (architecture.nextn_predict_layers ?? 0) - (attention.shared_kv_layers ?? 0);
  const cached = Array.from({ length: Math.max(0, last) }, (_, layer) => layer);
  const isRecurrent = (layer: number) =>
    interval !== undefined && architecture.ssm !== undefined && layer % interval !== interval - 1;
  const isWindowed = windowRule(name, attention);
  const full = cached.filter((layer) => !isRecurrent(layer) && !isWindowed(layer));
  const windowed = cached.filter((layer) => !isRecurrent(layer) && isWindowed(layer));
  const recurrent = cached.filter(isRecurrent);
  return {
    weightBytes,
    layers: full.length,
    kvHeads: full.length === blocks ? headsKv : full.map(heads),
    keyLength,
    valueLength,
    ...(windowed.length === 0
      ? {}
      : {
          window: {
            tokens: attention.sliding_window ?? 0,
            layers: windowed.length,
            kvHeads: windowed.map(heads),
            keyLength: attention.key_length_swa ?? keyLength,
            valueLength: attention.value_length_swa ?? valueLength,
          },
        }),
    ...(recurrent.length === 0 ? {} : { stateBytes: recurrent.length * stateBytesOfLayer(architecture.ssm) }),
  };
}

function windowRule(name: string, attention: Architecture['attention']): (layer: number) => boolean {
  const { sliding_window: window = 0, sliding_window_pattern: pattern = WINDOW_PATTERNS[name] } = attention;
  if (window <= 0 || pattern === undefined) return () => false;
  if (Array.isArray(pattern)) return (layer) => Boolean(pattern[layer]);
  return (layer) => pattern > 1 && layer % pattern < pattern - 1;
}

/** Convolution history and state of one recurrent layer, for each row. */
function stateBytesOfLayer(ssm: Architecture['ssm']): number {
  if (ssm === undefined) return 0;
  const history = Math.max(0, ssm.conv_kernel - 1) * (ssm.inner_size + 2 * ssm.group_count * ssm.state_size);
  return (history + ssm.inner_size * ssm.state_size) * STATE_VALUE_BYTES;
}
