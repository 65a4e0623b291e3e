/** JSON (RFC 8259) as it comes, character by character. Whatever comes, what it gives back is valid so far. */

/** Objects and lists in one another; what is deeper is no JSON to us. */
const MAX_DEPTH = 256;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/u;
const NUMBER_BEGINNING = /^-?(?:(?:0|[1-9]\d*)(?:\.\d*)?(?:(?<=\d)[eE][+-]?\d*)?)?$/u;
const LITERALS = ['true', 'false', 'null'];

type Expected =
  | 'value' // anywhere but directly behind a `[`
  | 'first item' // behind `[`: a value or the end
  | 'first key' // behind `{`: a key or the end
  | 'key'
  | 'colon'
  | 'next' // behind a value: a comma or the end
  | 'string'
  | 'scalar' // a number, `true`, `false` or `null`
  | 'nothing'; // it is whole

/** One value. */
export class JsonText {
  #expected: Expected = 'value';
  readonly #open: ('{' | '[')[] = [];
  /** The string that is open is a key. */
  #isKey = false;
  /** Of a scalar or of an escape in a string: what has come and was not given back. */
  #held = '';
  /** A comma was taken; it is given back with what follows. */
  #comma = false;

  get whole(): boolean {
    return this.#expected === 'nothing';
  }

  /** It may end here: it is whole, or a number or a word that nothing can follow but what is not its own. */
  get mayEnd(): boolean {
    const scalar = this.#expected === 'scalar' && this.#open.length === 0;
    return this.whole || (scalar && (NUMBER.test(this.#held) || LITERALS.includes(this.#held)));
  }

  /** What this character adds. `undefined`: it does not belong to the value, which may be whole by then. */
  take(char: string): string | undefined {
    switch (this.#expected) {
      case 'nothing':
        return undefined;
      case 'string':
        return this.#inString(char);
      case 'scalar':
        return this.#inScalar(char);
      default:
        return /[ \t\n\r]/u.test(char) ? '' : this.#between(char);
    }
  }

  /** What is missing to make it whole. */
  complete(): string {
    let text = '';
    if (this.#expected === 'string') {
      this.#held = '';
      text += '"';
      this.#afterString();
    }
    if (this.#expected === 'scalar') text += this.#completedScalar();
    if (this.#expected === 'colon') text += ':null';
    else if (this.#expected === 'value' && !this.#comma) text += 'null';
    while (this.#open.length > 0) text += this.#open.pop() === '{' ? '}' : ']';
    this.#expected = 'nothing';
    return text;
  }

  #between(char: string): string | undefined {
    const expected = this.#expected;
    if (expected === 'colon') return char === ':' ? this.#then('value', ':') : undefined;
    if (expected === 'next') {
      if (char === ',') {
        this.#comma = true;
        return this.#then(this.#open.at(-1) === '{' ? 'key' : 'value', '');
      }
      return this.#closing(char);
    }
    if (expected === 'first key' || expected === 'first item') {
      const closed = this.#closing(char);
      if (closed !== undefined) return closed;
    }
    if (expected === 'first key' || expected === 'key')
      return char === '"' ? this.#begin('string', true) + char : undefined;
    return this.#value(char);
  }

  #value(char: string): string | undefined {
    if (char === '"') return this.#begin('string', false) + char;
    if (char === '{' || char === '[') {
      if (this.#open.length >= MAX_DEPTH) return undefined;
      const before = this.#begin(char === '{' ? 'first key' : 'first item', false);
      this.#open.push(char);
      return before + char;
    }
    if (!/[-0-9tfn]/u.test(char)) return undefined;
    const before = this.#begin('scalar', false);
    this.#held = char;
    return before;
  }

  #begin(expected: Expected, isKey: boolean): string {
    this.#isKey = isKey;
    const before = this.#comma ? ',' : '';
    this.#comma = false;
    return this.#then(expected, before);
  }

  #then(expected: Expected, text: string): string {
    this.#expected = expected;
    return text;
  }

  #closing(char: string): string | undefined {
    const open = this.#open.at(-1);
    if (open === undefined || char !== (open === '{' ? '}' : ']')) return undefined;
    this.#open.pop();
    return this.#then(this.#open.length === 0 ? 'nothing' : 'next', char);
  }

  #inString(char: string): string | undefined {
    if (this.#held !== '') return this.#inEscape(char);
    if (char === '\\') {
      this.#held = char;
      return '';
    }
    if (char === '"') {
      this.#afterString();
      return char;
    }
    // models write line breaks into strings as they are
    return char < ' ' ? JSON.stringify(char).slice(1, -1) : char;
  }

  #inEscape(char: string): string | undefined {
    const escape = this.#held + char;
    if (!/^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{0,4})$/u.test(escape)) return undefined;
    const complete = !escape.startsWith('\\u') || escape.length === '\\u0000'.length;
    this.#held = complete ? '' : escape;
    return complete ? escape : '';
  }

  #afterString(): void {
    if (this.#isKey) this.#expected = 'colon';
    else this.#expected = this.#open.length === 0 ? 'nothing' : 'next';
  }

  #inScalar(char: string): string | undefined {
    const grown = this.#held + char;
    if (NUMBER_BEGINNING.test(grown) || LITERALS.some((literal) => literal.startsWith(grown))) {
      this.#held = grown;
      return '';
    }
    if (!NUMBER.test(this.#held) && !LITERALS.includes(this.#held)) return undefined;
    const scalar = this.#held;
    this.#held = '';
    this.#expected = this.#open.length === 0 ? 'nothing' : 'next';
    const rest = this.take(char);
    return rest === undefined ? this.#unfit(scalar) : scalar + rest;
  }

  /** The scalar was whole, what follows it does not fit: it is told by `complete`. */
  #unfit(scalar: string): undefined {
    this.#held = scalar;
    this.#expected = 'scalar';
    return undefined;
  }

  #completedScalar(): string {
    const held = this.#held;
    this.#held = '';
    if (NUMBER.test(held)) return held;
    const literal = LITERALS.find((each) => each.startsWith(held));
    return literal ?? `${held}0`;
  }
}
