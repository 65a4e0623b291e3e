import { describe, expect, test } from 'vitest';
import { footprint } from '../../src/inference/footprint.js';
import { knownShape, readCatalog } from '../../src/models/catalog.js';
import { Architecture, shapeOf } from '../../src/models/gguf-shape.js';

/** `count` values from a rule, as a header has them for its layers. */
const layers = <T>(count: number, rule: (layer: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => rule(at));
const slides = (every: number) => (layer: number) => layer % every !== every - 1;
const qwen = (blocks: number, heads: number, inner: number) => ({
  block_count: blocks,
  context_length: 262_144,
  embedding_length: 4096,
  full_attention_interval: 4,
  attention: { head_count: 16, head_count_kv: heads, key_length: 256, value_length: 256 },
  ssm: { conv_kernel: 4, inner_size: inner, state_size: 128, group_count: 16 },
});
const gemma4 = (blocks: number, every: number, headsKv: number | number[], window: number, shared: number) => ({
  block_count: blocks,
  context_length: 131_072,
  embedding_length: 2816,
  attention: {
    head_count: 16,
    head_count_kv: headsKv,
    key_length: 512,
    value_length: 512,
    key_length_swa: 256,
    value_length_swa: 256,
    sliding_window: window,
    sliding_window_pattern: layers(blocks, slides(every)),
    shared_kv_layers: shared,
  },
});
const gptOss = {
  block_count: 24,
  context_length: 131_072,
  embedding_length: 2880,
  attention: { head_count: 64, head_count_kv: 8, key_length: 64, value_length: 64, sliding_window: 128 },
};
const gemma3 = {
  block_count: 18,
  context_length: 32_768,
  embedding_length: 640,
  attention: { head_count: 4, head_count_kv: 1, key_length: 256, value_length: 256, sliding_window: 512 },
};
const qwen3 = {
  block_count: 28,
  context_length: 40_960,
  embedding_length: 1024,
  attention: { head_count: 16, head_count_kv: 8, key_length: 128, value_length: 128 },
};

describe('the header of a file means the memory that the catalogue states for its model', () => {
  test.each<[alias: string, architecture: string, header: unknown]>([
    ['gpt-oss-20b', 'gpt-oss', gptOss],
    [
      'gemma-4-26b',
      'gemma4',
      gemma4(
        30,
        6,
        layers(30, (layer) => (slides(6)(layer) ? 8 : 2)),
        1024,
        0,
      ),
    ],
    ['gemma-4-e4b', 'gemma4', gemma4(42, 6, 2, 512, 18)],
    ['gemma-4-e2b', 'gemma4', gemma4(35, 5, 1, 512, 20)],
    ['gemma-3-270m', 'gemma3', gemma3],
    ['qwen3.5-9b', 'qwen35', qwen(32, 4, 4096)],
    ['qwen3.6-35b', 'qwen35moe', qwen(40, 2, 4096)],
    ['qwen3.8-27b', 'qwen35', { ...qwen(65, 4, 6144), nextn_predict_layers: 1 }],
    ['qwen3.5-122b', 'qwen35moe', qwen(48, 2, 8192)],
    ['qwen3-0.6b', 'qwen3', qwen3],
  ])('%s', (alias, architecture, header) => {
    const model = readCatalog().find((each) => each.alias === alias);
    const known = model?.builds[0] && knownShape(model, model.builds[0]);
    if (known === undefined) throw new Error('the catalogue does not know it');
    const read = shapeOf(architecture, Architecture.parse(header), known.weightBytes);
    for (const [rows, contextTokens] of [
      [1, 2048],
      [4, 8192],
      [2, 262_144],
    ] as const) {
      expect(footprint(read, rows, contextTokens)).toEqual(footprint(known, rows, contextTokens));
    }
  });
});

describe('what a header leaves open counts as full attention', () => {
  test.each([
    ['a window without a pattern', { ...qwen3, attention: { ...qwen3.attention, sliding_window: 1024 } }],
    ['an interval without a recurrent state', { ...qwen3, full_attention_interval: 4 }],
    ['a pattern without a window', { ...qwen3, attention: { ...qwen3.attention, sliding_window_pattern: 6 } }],
  ])('%s', (_, header) => {
    expect(shapeOf('unheard-of', Architecture.parse(header), 1)).toEqual({
      weightBytes: 1,
      layers: 28,
      kvHeads: 8,
      keyLength: 128,
      valueLength: 128,
    });
  });
});
