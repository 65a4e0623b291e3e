import type { Pace } from './forecast.js';
import type { Timing } from './runner-process.js';

/** Weight of the newest answer. */
const NEWEST_WEIGHT = 0.3;
/** Tokens that were written after an answer's first, from which on they tell a speed. The time of an answer runs from its
 *  first token on: one of a single token took none. */
const TELLING_TOKENS = 8;

/** What the answers of one model were like: moving averages, `undefined` before the first. */
export class MeasuredPace implements Pace {
  tokensPerS: number | undefined;
  answerTokens: number | undefined;
  /** Reading the prompt. */
  promptTokensPerS: number | undefined;

  learn({ promptTokens, promptMs, completionTokens, outputMs }: Timing): void {
    if (promptTokens > 0 && promptMs > 0)
      this.promptTokensPerS = average(this.promptTokensPerS, (promptTokens / promptMs) * 1_000);
    if (completionTokens === 0) return;
    this.answerTokens = average(this.answerTokens, completionTokens);
    const written = completionTokens - 1;
    if (written >= TELLING_TOKENS && outputMs > 0)
      this.tokensPerS = average(this.tokensPerS, (written / outputMs) * 1_000);
  }
}

function average(before: number | undefined, newest: number): number {
  return before === undefined ? newest : before + NEWEST_WEIGHT * (newest - before);
}
