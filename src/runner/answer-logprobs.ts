import type { TokenLogprob } from '../inference/types.js';

/** Holds the probabilities of an answer's tokens until their text is shown. What is never shown (a stop string, a blank
 *  that was trimmed, a mark between parts of the answer) takes its tokens with it. */
export class AnswerLogprobs {
  #waiting: { text: string; logprob: TokenLogprob }[] = [];
  /** Shown, but of the token that was given out last. */
  #begun = '';

  /** The next token, and the text that came with it: none while its character is not whole. */
  push(logprob: TokenLogprob, text: string): void {
    this.#waiting.push({ text, logprob });
  }

  /** The tokens that begin in the text that is shown now. */
  show(text: string): TokenLogprob[] {
    const begun = commonBeginning(this.#begun, text);
    this.#begun = this.#begun.slice(begun);
    let left = text.slice(begun);
    const shown: TokenLogprob[] = [];
    while (left !== '') {
      const next = this.#waiting.findIndex((token) => token.text !== '');
      const token = this.#waiting[next];
      if (token === undefined) break;
      const group = this.#waiting.splice(0, next + 1); // a character's tokens, of which the last brought its text
      const overlap = shownEnd(token.text, left);
      if (overlap === undefined) continue;
      shown.push(...group.map(({ logprob }) => logprob));
      this.#begun = overlap.slice(left.length);
      left = left.slice(overlap.length);
    }
    return shown;
  }
}

/** How many characters both begin with. */
function commonBeginning(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

/** The longest end of a token's text that is shown first, or begins with all that is shown. */
function shownEnd(token: string, shown: string): string | undefined {
  for (let from = 0; from < token.length; from++) {
    const end = token.slice(from);
    if (shown.startsWith(end) || end.startsWith(shown)) return end;
  }
  return undefined;
}
