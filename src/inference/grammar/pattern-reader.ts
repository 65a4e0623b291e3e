import { complement, EVERY_CHARACTER, union, type CharacterSet } from './character-set.js';
import type { Language, Languages } from './languages.js';

/** A pattern that cannot be read here, and why. */
export class UnreadablePattern extends Error {
  override readonly name = 'UnreadablePattern';
}

/** Groups within each other. */
const MAX_DEPTH = 64;

/** A regular expression of ECMAScript with the flag `u`, as JSON Schema has them, taken apart. */
type Node =
  | { type: 'set'; set: CharacterSet }
  | { type: 'sequence' | 'either'; of: readonly Node[] }
  | { type: 'repeat'; of: Node; min: number; max: number }
  | { type: 'begin' | 'end' }
  | { type: 'ahead'; of: Node; wanted: boolean };

/** Whether a place is where the text begins. */
type Place = 'begin' | 'within' | 'unknown';

/** The texts in which a pattern is found, anywhere unless it says otherwise.
 *  @throws UnreadablePattern for what is no pattern, and for what looks back. */
export function patternLanguage(pattern: string, languages: Languages): Language {
  try {
    new RegExp(pattern, 'u');
  } catch {
    throw new UnreadablePattern('is no regular expression');
  }
  const node = new PatternReader(pattern).read();
  const { all } = languages;
  const before = languages.repeat(languages.set(EVERY_CHARACTER), 1, Infinity);
  return languages.either([
    languageOf(node, all, 'begin', languages),
    languages.then(before, languageOf(node, all, 'within', languages)),
  ]);
}

/** The texts that this is the beginning of, with the texts of `rest` behind it: so a look ahead sees the whole rest. */
function languageOf(node: Node, rest: Language, place: Place, languages: Languages): Language {
  switch (node.type) {
    case 'set':
      return languages.then(languages.set(node.set), rest);
    case 'either':
      return languages.either(node.of.map((each) => languageOf(each, rest, place, languages)));
    case 'sequence': {
      let at = place;
      const placed = node.of.map((each): [Node, Place] => {
        const before = at;
        at = placeBehind(each, at);
        return [each, before];
      });
      return placed.reduceRight((behind, [each, before]) => languageOf(each, behind, before, languages), rest);
    }
    case 'repeat': {
      if (!asserts(node.of)) {
        const of = languageOf(node.of, languages.empty, place, languages);
        return languages.then(languages.repeat(of, node.min, node.max), rest);
      }
      if (node.max > 1) throw new UnreadablePattern('repeats what looks ahead or is bound to a place');
      const once = languageOf(node.of, rest, place, languages);
      return node.min === 1 ? once : languages.either([once, rest]);
    }
    case 'begin':
      if (place === 'unknown') throw new UnreadablePattern("has a '^' behind what may be empty");
      return place === 'begin' ? rest : languages.none;
    case 'end':
      return languages.both([rest, languages.empty]);
    case 'ahead': {
      const seen = languageOf(node.of, languages.all, place, languages);
      return languages.both([rest, node.wanted ? seen : languages.not(seen)]);
    }
  }
}

function asserts(node: Node): boolean {
  if (node.type === 'set') return false;
  if (node.type === 'repeat') return asserts(node.of);
  return node.type === 'sequence' || node.type === 'either' ? node.of.some(asserts) : true;
}

function placeBehind(node: Node, place: Place): Place {
  const width = widthOf(node);
  if (width === 'some') return 'within';
  return width === 'any' && place === 'begin' ? 'unknown' : place;
}

/** Whether what a node takes is never empty, may be, or always is. */
function widthOf(node: Node): 'some' | 'any' | 'none' {
  switch (node.type) {
    case 'set':
      return 'some';
    case 'sequence': {
      const widths = node.of.map(widthOf);
      return widths.includes('some') ? 'some' : widths.includes('any') ? 'any' : 'none';
    }
    case 'either': {
      const [first = 'none', ...others] = node.of.map(widthOf);
      return others.every((width) => width === first) ? first : 'any';
    }
    case 'repeat': {
      const width = widthOf(node.of);
      return width === 'some' && node.min === 0 ? 'any' : width;
    }
    default:
      return 'none';
  }
}

const DIGITS: CharacterSet = [[0x30, 0x39]];
const WORD: CharacterSet = union([DIGITS, [[0x41, 0x5a]], [[0x5f, 0x5f]], [[0x61, 0x7a]]]);
const LINE_ENDS: CharacterSet = union([[[0x0a, 0x0a]], [[0x0d, 0x0d]], [[0x2028, 0x2029]]]);
const SPACES = union([LINE_ENDS, ...[0x09, 0x0b, 0x0c, 0x20, 0xa0, 0x1680, 0x202f, 0x205f, 0x3000, 0xfeff].map(only), [[0x2000, 0x200a]]]); // prettier-ignore
const CLASSES: Readonly<Record<string, CharacterSet>> = {
  d: DIGITS,
  w: WORD,
  s: SPACES,
  D: complement(DIGITS),
  W: complement(WORD),
  S: complement(SPACES),
};
const CONTROLS: Readonly<Record<string, number>> = { t: 0x09, n: 0x0a, v: 0x0b, f: 0x0c, r: 0x0d, 0: 0 };

function only(code: number): CharacterSet {
  return [[code, code]];
}

/** Reads a pattern that is one: what stands where is known. */
class PatternReader {
  readonly #characters: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#characters = [...pattern];
  }

  read(): Node {
    this.#depth++;
    if (this.#depth > MAX_DEPTH) throw new UnreadablePattern(`has groups that are nested more than ${MAX_DEPTH} deep`);
    const ways: Node[] = [];
    do ways.push(this.#sequence());
    while (this.#took('|'));
    this.#depth--;
    const [first] = ways;
    return ways.length === 1 && first !== undefined ? first : { type: 'either', of: ways };
  }

  #sequence(): Node {
    const of: Node[] = [];
    while (this.#at < this.#characters.length && !this.#sees('|') && !this.#sees(')')) {
      of.push(this.#repeated(this.#atom()));
    }
    return { type: 'sequence', of };
  }

  #repeated(of: Node): Node {
    const bounds = this.#bounds();
    if (bounds === undefined) return of;
    this.#took('?'); // which of several ways is tried first makes no other language
    return { type: 'repeat', of, ...bounds };
  }

  #bounds(): { min: number; max: number } | undefined {
    if (this.#took('*')) return { min: 0, max: Infinity };
    if (this.#took('+')) return { min: 1, max: Infinity };
    if (this.#took('?')) return { min: 0, max: 1 };
    if (!this.#took('{')) return undefined;
    const min = Number(this.#until(/[,}]/u));
    if (!this.#took(',')) return this.#closed({ min, max: min });
    const max = this.#until(/\}/u);
    return this.#closed({ min, max: max === '' ? Infinity : Number(max) });
  }

  /** What was read, and the bracket behind it taken. */
  #closed<T>(value: T): T {
    this.#at++;
    return value;
  }

  #atom(): Node {
    if (this.#took('^')) return { type: 'begin' };
    if (this.#took('$')) return { type: 'end' };
    if (this.#took('.')) return { type: 'set', set: complement(LINE_ENDS) };
    if (this.#took('[')) return { type: 'set', set: this.#class() };
    if (this.#took('(')) return this.#group();
    return { type: 'set', set: this.#took('\\') ? this.#escape() : only(this.#next()) };
  }

  #group(): Node {
    if (!this.#took('?')) return this.#closed(this.read());
    if (this.#took(':')) return this.#closed(this.read());
    for (const sign of ['=', '!']) {
      if (this.#took(sign)) return this.#closed({ type: 'ahead', of: this.read(), wanted: sign === '=' });
    }
    if (!this.#took('<') || this.#sees('=') || this.#sees('!')) {
      throw new UnreadablePattern('looks back or changes flags');
    }
    this.#until(/>/u); // a name
    this.#at++;
    return this.#closed(this.read());
  }

  #class(): CharacterSet {
    const negated = this.#took('^');
    const sets: CharacterSet[] = [];
    while (!this.#took(']')) {
      const first = this.#member();
      const range = first.length === 1 && this.#sees('-') && this.#characters[this.#at + 1] !== ']';
      if (range) this.#at++;
      const last = range ? this.#member() : first;
      sets.push(range ? [[first[0]?.[0] ?? 0, last[0]?.[1] ?? 0]] : first);
    }
    return negated ? complement(union(sets)) : union(sets);
  }

  #member(): CharacterSet {
    if (!this.#took('\\')) return only(this.#next());
    return this.#took('b') ? only(0x08) : this.#escape();
  }

  /** Behind a backslash. */
  #escape(): CharacterSet {
    const letter = String.fromCodePoint(this.#next());
    const known = CLASSES[letter] ?? (CONTROLS[letter] === undefined ? undefined : only(CONTROLS[letter]));
    if (known !== undefined) return known;
    if (letter === 'x') return only(Number.parseInt(this.#many(2), 16));
    if (letter === 'c') return only(this.#next() % 32);
    if (letter === 'u') return only(this.#codePoint());
    if (/\w/u.test(letter)) throw new UnreadablePattern(`has '\\${letter}', which is not supported`);
    return only(letter.codePointAt(0) ?? 0);
  }

  #codePoint(): number {
    const code = this.#took('{')
      ? this.#closed(Number.parseInt(this.#until(/\}/u), 16))
      : Number.parseInt(this.#many(4), 16);
    if (code >= 0xd800 && code <= 0xdfff) throw new UnreadablePattern('has halves of characters; write them whole');
    return code;
  }

  #sees(character: string): boolean {
    return this.#characters[this.#at] === character;
  }

  #took(character: string): boolean {
    const sees = this.#sees(character);
    if (sees) this.#at++;
    return sees;
  }

  #next(): number {
    return this.#many(1).codePointAt(0) ?? 0;
  }

  #many(count: number): string {
    this.#at += count;
    return this.#characters.slice(this.#at - count, this.#at).join('');
  }

  #until(end: RegExp): string {
    const from = this.#at;
    while (this.#at < this.#characters.length && !end.test(this.#characters[this.#at] ?? '')) this.#at++;
    return this.#characters.slice(from, this.#at).join('');
  }
}
