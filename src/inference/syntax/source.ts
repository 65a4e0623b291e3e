/** A reader that gives back control where it needs more text. */
export type Reading<T = void> = Generator<undefined, T, undefined>;

/** The text of an answer, as far as it has come. */
export class Source {
  #text = '';
  #at = 0;
  /** Characters that were let go of. */
  #gone = 0;
  #kept: number | undefined;
  #ended = false;

  push(piece: string): void {
    const from = Math.min(this.#kept ?? this.#at, this.#at);
    this.#text = this.#text.slice(from) + piece;
    this.#at -= from;
    this.#gone += from;
    if (this.#kept !== undefined) this.#kept -= from;
  }

  /** No more text will come. */
  end(): void {
    this.#ended = true;
  }

  /** What has come and was not taken. */
  get left(): string {
    return this.#text.slice(this.#at);
  }

  /** How many characters were taken. */
  get place(): number {
    return this.#gone + this.#at;
  }

  /** All that has come from this place on; it must not lie before what was pushed last. */
  since(place: number): string {
    return this.#text.slice(Math.max(0, place - this.#gone));
  }

  take(length: number): string {
    const taken = this.#text.slice(this.#at, this.#at + length);
    this.#at += taken.length;
    return taken;
  }

  /** From here on text is kept, so that it can be read again. */
  keep(): void {
    this.#kept = this.#at;
  }

  release(): void {
    this.#kept = undefined;
  }

  /** Back to where `keep` was said. */
  rewind(): void {
    this.#at = this.#kept ?? this.#at;
    this.#kept = undefined;
  }

  /** Waits for more text than there is now. False: it has ended. */
  *more(): Reading<boolean> {
    const before = this.place + this.left.length;
    while (this.place + this.left.length === before) {
      if (this.#ended) return false;
      yield;
    }
    return true;
  }

  /** The next character; it stays. `undefined` at the end. */
  *peek(): Reading<string | undefined> {
    if (this.#at >= this.#text.length && !(yield* this.more())) return undefined;
    return this.#text[this.#at];
  }

  /** Takes `text` if it comes next. */
  *literal(text: string): Reading<boolean> {
    for (;;) {
      const { left } = this;
      if (left.startsWith(text)) {
        this.take(text.length);
        return true;
      }
      if (!text.startsWith(left) || !(yield* this.more())) return false;
    }
  }

  /** Takes the first of `texts` that comes next; none may be the beginning of another. */
  *oneOf(texts: readonly string[]): Reading<string | undefined> {
    for (const text of texts) if (yield* this.literal(text)) return text;
    return undefined;
  }

  /** Takes white space, and waits until something else comes. */
  *space(): Reading {
    for (;;) {
      const { left } = this;
      this.take(left.length - left.trimStart().length);
      if (this.#at < this.#text.length || !(yield* this.more())) return;
    }
  }

  /**
   * Takes text up to the first of `marks`, and the mark; hands out the text as it comes, held back only as far as it could
   * be the beginning of a mark. `undefined`: the text ended first. No mark may occur in another one.
   */
  *until(marks: readonly string[], show: (text: string) => void): Reading<string | undefined> {
    for (;;) {
      const { left } = this;
      const found = firstOf(left, marks);
      if (found !== undefined) {
        show(left.slice(0, found.at));
        this.take(found.at + found.mark.length);
        return found.mark;
      }
      show(this.take(left.length - lengthThatCouldBegin(left, marks)));
      if (!(yield* this.more())) {
        show(this.take(this.left.length));
        return undefined;
      }
    }
  }
}

function firstOf(text: string, marks: readonly string[]): { at: number; mark: string } | undefined {
  return marks
    .map((mark) => ({ at: text.indexOf(mark), mark }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at)[0];
}

/** Length of the longest end of `text` that is the beginning of one of these. */
function lengthThatCouldBegin(text: string, marks: readonly string[]): number {
  const lengths = marks.map((mark) => {
    let length = Math.min(mark.length - 1, text.length);
    while (length > 0 && !mark.startsWith(text.slice(text.length - length))) length--;
    return length;
  });
  return Math.max(0, ...lengths);
}
