/** From tokens to the text a client may see: whole characters, up to the first stop string. */

/** Turns tokens into text. `before` are the tokens in front of them, for tokenizers whose spaces depend on them. */
export type Detokenize = (tokens: readonly number[], before: readonly number[]) => string;

/** A token's exact bytes in UTF-8. */
type BytesOf = (token: number) => readonly number[];

/** What a decoder makes of the beginning of a character whose rest has not come. */
const UNFINISHED = /\uFFFD+$/u;
/** The same characters where they were written as such, and behind them such a beginning at most: in bytes, each as the
 *  character of its number. */
const WRITTEN = /((?:\xEF\xBF\xBD)+)(?:[\xC2-\xDF]|[\xE0-\xEF][\x80-\xBF]?|[\xF0-\xF4][\x80-\xBF]{0,2})?$/u;
/** Tokens in a row that end inside a character; after that many the bytes are taken to be no text. */
const MAX_PENDING_TOKENS = 64;
const TOKENS_BEFORE = 4;

/** Shows what is whole, and holds back the beginning of a character while its rest is missing. */
export class Utf8Stream {
  readonly #detokenize: Detokenize;
  readonly #bytesOf: BytesOf;
  /** Tokens since the last one that ended with a whole character. */
  #pending: number[] = [];
  /** Length of the text of the pending tokens that was shown already. */
  #shown = 0;
  #before: number[] = [];

  constructor(detokenize: Detokenize, bytesOf: BytesOf) {
    this.#detokenize = detokenize;
    this.#bytesOf = bytesOf;
  }

  push(token: number): string {
    this.#pending.push(token);
    const text = this.#detokenize(this.#pending, this.#before);
    const whole = this.#pending.length < MAX_PENDING_TOKENS ? text.replace(UNFINISHED, '') : text;
    const fresh = whole.slice(this.#shown);
    this.#shown = whole.length;
    if (whole.length === text.length) {
      this.#before = [...this.#before, ...this.#pending].slice(-TOKENS_BEFORE);
      this.#pending = [];
      this.#shown = 0;
    }
    return fresh;
  }

  /** What is left at the end, without the beginning of a character that never came. */
  flush(): string {
    const text = this.#pending.length === 0 ? '' : this.#detokenize(this.#pending, this.#before);
    const bytes = Buffer.from(this.#pending.flatMap((token) => this.#bytesOf(token))).toString('latin1');
    const written = '\uFFFD'.repeat((WRITTEN.exec(bytes)?.[1] ?? '').length / '\xEF\xBF\xBD'.length);
    const rest = text.replace(UNFINISHED, written).slice(this.#shown);
    this.#pending = [];
    this.#shown = 0;
    return rest;
  }
}

/** Finds stop strings, also across the borders of what is pushed, and holds back what could become one. */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** The text that may be shown, and the stop string that ended it. */
  push(text: string): { text: string; stop: string | null } {
    this.#held += text;
    const found = this.#firstComplete();
    if (found !== undefined) {
      const shown = this.#held.slice(0, found.at);
      this.#held = '';
      return { text: shown, stop: found.stop };
    }
    const keep = this.#lengthThatCouldStop();
    const shown = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(this.#held.length - keep);
    return { text: shown, stop: null };
  }

  /** What was held back when the answer ended without a stop string. */
  flush(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }

  /** The stop string that was complete first; of those that end together, the longest. So it does not matter how the
   *  text came. */
  #firstComplete(): { at: number; stop: string } | undefined {
    return this.#stops
      .map((stop) => ({ at: this.#held.indexOf(stop), stop }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at + a.stop.length - (b.at + b.stop.length) || a.at - b.at)[0];
  }

  /** Length of the longest end of the held text that is the beginning of a stop string. */
  #lengthThatCouldStop(): number {
    const lengths = this.#stops.map((stop) => {
      let length = Math.min(stop.length - 1, this.#held.length);
      while (length > 0 && !stop.startsWith(this.#held.slice(-length))) length--;
      return length;
    });
    return Math.max(0, ...lengths);
  }
}
