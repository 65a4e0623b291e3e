import { GREEDY } from '../inference/types.js';
import type { ModelFacts } from '../runner-protocol/messages.js';
import type { Feed, Runtime } from './runtime.js';

/** A prompt from which on the runtimes take their kernels for many tokens at once. */
const PROMPT_TOKENS = 64;
/** Every vocabulary has it. */
const ANY_TOKEN = 0;

/**
 * Computes what answers are made of: a prompt, one row, and all rows together. A GPU brings weights in and compiles
 * kernels when they are first used; what takes seconds then is done when the model is loaded, and a model that does not
 * fit says so. The rows are empty before and after.
 * @throws Error when a batch fails.
 */
export async function warmUp(
  runtime: Pick<Runtime, 'createSampler' | 'step' | 'cut'>,
  { rows, contextTokens }: Pick<ModelFacts, 'rows' | 'contextTokens'>,
): Promise<void> {
  const sampler = runtime.createSampler({ sampling: GREEDY, logitBias: {} }, 0);
  const feed = (row: number, tokens: number): Feed => ({
    row,
    position: 0,
    tokens: Array<number>(tokens).fill(ANY_TOKEN),
    sampler: row === 0 ? sampler : undefined,
  });
  const oneForEach = Array.from({ length: rows }, (_, row) => feed(row, 1));
  try {
    for (const feeds of [[feed(0, Math.min(PROMPT_TOKENS, contextTokens))], [feed(0, 1)], oneForEach]) {
      await runtime.step(feeds);
      for (const { row } of feeds) runtime.cut(row, 0);
    }
  } finally {
    sampler.dispose();
  }
}
