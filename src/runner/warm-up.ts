import { GREEDY } from '../inference/types.js';
import { ANY_TOKEN, type Runtime } from './runtime.js';

/** For this many the runtimes take the kernels that they take for a long prompt. */
const PROMPT_TOKENS = 128;

/**
 * Computes what every answer is made of, a prompt and one token after it. A GPU brings weights in and compiles kernels when
 * they are first used: what takes long then belongs to the load, and a model that cannot be computed with says so there.
 * The row is empty before and after.
 * @throws Error when a batch fails.
 */
export async function warmUp(runtime: Pick<Runtime, 'facts' | 'createSampler' | 'step' | 'cut'>): Promise<void> {
  const promptTokens = Math.min(PROMPT_TOKENS, runtime.facts.contextTokens - 1);
  const sampler = runtime.createSampler({ sampling: GREEDY, logitBias: {} }, 0);
  const compute = async (position: number, tokens: number) => {
    const feed = { row: 0, position, tokens: Array<number>(tokens).fill(ANY_TOKEN), sampler };
    const [chosen] = await runtime.step([feed]);
    if (chosen instanceof Error) throw chosen;
  };
  try {
    await compute(0, promptTokens);
    await compute(promptTokens, 1);
    runtime.cut(0, 0);
  } finally {
    sampler.dispose();
  }
}
