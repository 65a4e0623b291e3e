import { EVERY_CHARACTER, includes, type CharacterSet } from './character-set.js';

/**
 * Regular languages: sets of texts. What may follow a character in a language is a language again, its derivative
 * (J. A. Brzozowski, "Derivatives of Regular Expressions", 1964): so are intersections and complements, which regular
 * expressions cannot say.
 */
export interface Language {
  readonly id: number;
  /** Holds the empty text. */
  readonly nullable: boolean;
  readonly form: Form;
}

type Form =
  | { type: 'none' | 'empty' }
  /** One of these characters. */
  | { type: 'set'; set: CharacterSet }
  | { type: 'then'; first: Language; rest: Language }
  | { type: 'either' | 'both'; of: readonly Language[] }
  | { type: 'not'; of: Language }
  | { type: 'repeat'; of: Language; min: number; max: number };

/** Languages that are put together from each other; of the same parts, the same one. */
export class Languages {
  /** Of no text at all. */
  readonly none: Language;
  /** Of the empty text alone. */
  readonly empty: Language;
  /** Of all texts. */
  readonly all: Language;
  readonly #known = new Map<string, Language>();
  /** By the id of a language, then by the character. */
  readonly #derivatives: Map<number, Language>[] = [];
  #stepsLeft: number;

  /** `steps`: how much may be put together. One more is a `LanguageTooLarge`. */
  constructor(steps: number) {
    this.#stepsLeft = steps;
    this.none = this.#made('none', false, { type: 'none' });
    this.empty = this.#made('empty', true, { type: 'empty' });
    this.all = this.repeat(this.set(EVERY_CHARACTER), 0, Infinity);
  }

  get stepsLeft(): number {
    return this.#stepsLeft;
  }

  /** The sets of characters that they are made of. */
  get sets(): CharacterSet[] {
    return [...this.#known.values()].flatMap(({ form }) => (form.type === 'set' ? [form.set] : []));
  }

  set(set: CharacterSet): Language {
    return set.length === 0 ? this.none : this.#made(`set ${set.join(' ')}`, false, { type: 'set', set });
  }

  then(first: Language, rest: Language): Language {
    if (first === this.none || rest === this.none) return this.none;
    if (first === this.empty) return rest;
    if (rest === this.empty) return first;
    const { form } = first;
    if (form.type === 'then') return this.then(form.first, this.then(form.rest, rest));
    return this.#made(`then ${first.id} ${rest.id}`, first.nullable && rest.nullable, { type: 'then', first, rest });
  }

  either(ways: readonly Language[]): Language {
    const of = this.#operands(ways, 'either').filter((each) => each !== this.none);
    if (of.includes(this.all)) return this.all;
    return this.#joined('either', of, this.none, of.some(({ nullable }) => nullable)); // prettier-ignore
  }

  both(parts: readonly Language[]): Language {
    const of = this.#operands(parts, 'both').filter((each) => each !== this.all);
    if (of.includes(this.none)) return this.none;
    return this.#joined('both', of, this.all, of.every(({ nullable }) => nullable)); // prettier-ignore
  }

  not(of: Language): Language {
    if (of === this.none) return this.all;
    if (of === this.all) return this.none;
    if (of.form.type === 'not') return of.form.of;
    return this.#made(`not ${of.id}`, !of.nullable, { type: 'not', of });
  }

  /** So many in a row; `max` may be infinite. */
  repeat(of: Language, min: number, max: number): Language {
    if (max === 0 || of === this.empty) return this.empty;
    if (min === 1 && max === 1) return of;
    if (of === this.none) return min === 0 ? this.empty : this.none;
    const nullable = min === 0 || of.nullable;
    return this.#made(`repeat ${of.id} ${min} ${max}`, nullable, { type: 'repeat', of, min, max });
  }

  /** What may follow this character. */
  derivative(language: Language, code: number): Language {
    const derivatives = (this.#derivatives[language.id] ??= new Map<number, Language>());
    const known = derivatives.get(code);
    if (known !== undefined) return known;
    this.#step(1);
    const derived = this.#derived(language, code);
    derivatives.set(code, derived);
    return derived;
  }

  #derived({ form }: Language, code: number): Language {
    switch (form.type) {
      case 'none':
      case 'empty':
        return this.none;
      case 'set':
        return includes(form.set, code) ? this.empty : this.none;
      case 'then': {
        const within = this.then(this.derivative(form.first, code), form.rest);
        return form.first.nullable ? this.either([within, this.derivative(form.rest, code)]) : within;
      }
      case 'either':
      case 'both':
        return this[form.type](form.of.map((each) => this.derivative(each, code)));
      case 'not':
        return this.not(this.derivative(form.of, code));
      case 'repeat': {
        const more = this.repeat(form.of, Math.max(0, form.min - 1), form.max - 1);
        return this.then(this.derivative(form.of, code), more);
      }
    }
  }

  /** Without a type within the same type, each once, in one order. */
  #operands(all: readonly Language[], type: 'either' | 'both'): Language[] {
    const flat = all.flatMap((each) => (each.form.type === type && 'of' in each.form ? each.form.of : [each]));
    this.#step(flat.length);
    return [...new Set(flat)].sort((a, b) => a.id - b.id);
  }

  #joined(type: 'either' | 'both', of: readonly Language[], ofNone: Language, nullable: boolean): Language {
    const [only = ofNone] = of;
    if (of.length < 2) return only;
    return this.#made(`${type} ${of.map(({ id }) => id).join(' ')}`, nullable, { type, of });
  }

  #made(key: string, nullable: boolean, form: Form): Language {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#step(1);
    const language = { id: this.#known.size, nullable, form };
    this.#known.set(key, language);
    return language;
  }

  #step(count: number): void {
    this.#stepsLeft -= count;
    if (this.#stepsLeft < 0) throw new LanguageTooLarge();
  }
}

export class LanguageTooLarge extends Error {
  override readonly name = 'LanguageTooLarge';
}
