import type { TokenLogprob } from '../inference/types.js';

/** Holds the probabilities of an answer's tokens until text of theirs is shown. Those of a stop string never are. */
export class AnswerLogprobs {
  #waiting: { start: number; logprob: TokenLogprob }[] = [];
  #produced = 0;
  #shown = 0;

  /** The next token, and the text that came with it: none while its character is not whole. */
  push(logprob: TokenLogprob, text: string): void {
    this.#waiting.push({ start: this.#produced, logprob });
    this.#produced += text.length;
  }

  /** The tokens of the text that is shown now: those that begin in it. */
  show(text: string): TokenLogprob[] {
    this.#shown += text.length;
    const begun = this.#waiting.filter(({ start }) => start < this.#shown);
    this.#waiting = this.#waiting.slice(begun.length);
    return begun.map(({ logprob }) => logprob);
  }
}
