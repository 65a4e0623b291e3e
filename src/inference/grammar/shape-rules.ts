import { refused } from './keywords.js';
import { includes, intersection } from './character-set.js';
import { characterClass, literal, noneOfWords, oneWord, PLAIN_CHARACTERS, plainCharacter } from './literals.js';
import { integersBetween, LARGEST_INTEGER, numbersBetween } from './number-ranges.js';
import type { GrammarRules } from './rules.js';
import type { ArrayShape, Definition, ObjectShape, Shape, TextShape } from './shape.js';
import { SHORT_ESCAPES, type TextState } from './text-states.js';

/** Longer runs are put together from groups: the runtime refuses to repeat anything 2,000 times. */
const GROUP = 64;
/** Repetitions in one grammar, added up: the runtime writes each of them out. */
const MAX_UNROLLED = 40_000;

const HEX = '[0-9a-fA-F]';
/** Not one of a surrogate pair: each escape is one character. */
const ESCAPED = `"\\\\" (["\\\\/bfnrt] | "u" ([0-9a-cA-CefEF] ${HEX}{3} | [dD] [0-7] ${HEX}{2}))`;
/** Blanks have a bound: a model that writes them for ever would never come to an end. */
const BLANKS = '(" " | "\\n" " "{0,16})?';
const DIGITS = '("0" | [1-9] [0-9]{0,14})';

/** Writes the rules for a shape. */
export class ShapeRules {
  readonly #rules: GrammarRules;
  readonly #path: string;
  readonly #names = new Map<Shape, string>();
  #anyValue: string | undefined;
  #unrolled = 0;

  constructor(rules: GrammarRules, path: string) {
    this.#rules = rules;
    this.#path = path;
  }

  /** The name of a rule for JSON values of this shape.
   *  @throws DarkbloomError `unprocessable` when the grammar would be too large. */
  rule(shape: Shape): string {
    const known = this.#names.get(shape);
    if (known !== undefined) return known;
    if (shape.type === 'definition') return this.#definition(shape);
    const name = this.#write(shape);
    this.#names.set(shape, name);
    return name;
  }

  #definition(definition: Definition): string {
    const name = this.#rules.reserve('definition');
    this.#names.set(definition, name);
    this.#rules.define(name, this.rule(definition.shape));
    return name;
  }

  #write(shape: Exclude<Shape, Definition>): string {
    switch (shape.type) {
      case 'any':
        return this.#any();
      case 'null':
      case 'boolean':
        return this.#rules.add(shape.type, shape.type === 'null' ? '"null"' : '("true" | "false")');
      case 'values':
        return this.#rules.add('values', oneWord(shape.values.map((value) => JSON.stringify(value))));
      case 'text':
        return this.#rules.once(shape.name, () => this.#text(shape));
      case 'string':
        return this.#rules.add('string', `"\\"" ${this.#repeat(this.#character(), shape.min, shape.max)} "\\""`);
      case 'integer':
        return this.#integer(shape.min, shape.max);
      case 'number': {
        if (shape.min === undefined && shape.max === undefined) return this.#number();
        return this.#rules.add('number', numbersBetween(shape.min, shape.max) ?? this.#none());
      }
      case 'array':
        return this.#array(shape);
      case 'object':
        return this.#object(shape);
      case 'either':
        return this.#rules.add('either', [...new Set(shape.shapes.map((each) => this.rule(each)))].join(' | '));
    }
  }

  #none(): never {
    throw refused(this.#path, 'allows no value');
  }

  #blanks(): string {
    return this.#rules.add('blanks', BLANKS);
  }

  #character(): string {
    return this.#rules.add('character', `${plainCharacter()} | ${ESCAPED}`);
  }

  /** A rule for each state: what may come next, and the rule behind it. */
  #text({ states }: TextShape): string {
    const names = states.map(() => this.#rules.reserve('text'));
    for (const [index, name] of names.entries()) this.#rules.define(name, stateBody(states[index], names));
    return this.#rules.add('text', `"\\"" ${names[0] ?? this.#none()}`);
  }

  #integer(min: number | undefined, max: number | undefined): string {
    if (min === undefined && max === undefined) return this.#rules.add('integer', `"-"? ${DIGITS}`);
    return this.#rules.add('integer', integersBetween(min ?? -LARGEST_INTEGER, max ?? LARGEST_INTEGER) ?? this.#none());
  }

  #number(): string {
    return this.#rules.add('number', `"-"? ${DIGITS} ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?`);
  }

  /** Any JSON value. */
  #any(): string {
    if (this.#anyValue !== undefined) return this.#anyValue;
    const any: Shape = { type: 'any' };
    const value = this.#rules.reserve('value');
    this.#anyValue = value;
    this.#names.set(any, value);
    const scalars = [this.rule({ type: 'string', min: 0, max: undefined }), this.#number()];
    const nested = [
      this.rule({ type: 'object', members: [], rest: any }),
      this.rule({ type: 'array', first: [], rest: any, min: 0, max: undefined }),
    ];
    this.#rules.define(
      value,
      [...nested, ...scalars, this.rule({ type: 'boolean' }), this.rule({ type: 'null' })].join(' | '),
    );
    return value;
  }

  #array({ first, rest, min, max }: ArrayShape): string {
    const blanks = this.#blanks();
    const listed = first.slice(0, max);
    const open = rest === undefined || (max !== undefined && max <= listed.length) ? undefined : this.rule(rest);
    const more = open === undefined ? '' : this.#rules.add('more', `"," ${blanks} ${open}`);
    let items = '';
    if (listed.length === 0 && open !== undefined)
      items = `${open} ${this.#repeat(more, Math.max(0, min - 1), max === undefined ? undefined : max - 1)}`;
    else if (open !== undefined)
      items = this.#repeat(more, Math.max(0, min - listed.length), max === undefined ? undefined : max - listed.length);
    for (const [index, shape] of [...listed.entries()].reverse()) {
      const after = index + 1 === listed.length ? items : optional(`"," ${blanks} ${items}`, index + 1 < min);
      items = this.#rules.add('items', `${this.rule(shape)} ${after}`);
    }
    if (items === '') return this.#rules.add('array', `"[" ${blanks} "]"`);
    return this.#rules.add('array', `"[" ${blanks} ${optional(`${items} ${blanks}`, min > 0)} "]"`);
  }

  #object({ members, rest }: ObjectShape): string {
    const blanks = this.#blanks();
    const extra =
      rest === undefined
        ? undefined
        : this.#extra(
            members.map(({ name }) => name),
            rest,
          );
    let after = extra === undefined ? '' : `(${`"," ${blanks} ${extra}`})*`;
    let next = extra === undefined ? undefined : this.#rules.add('members', `${extra} ${after}`);
    let isRequired = false;
    for (const { name, shape, required } of [...members].reverse()) {
      const member = `${literal(JSON.stringify(name))} ":" ${blanks} ${this.rule(shape)} ${after}`;
      next = this.#rules.add('members', required || next === undefined ? member : `${member} | ${next}`);
      isRequired ||= required;
      after = optional(`"," ${blanks} ${next}`, isRequired);
    }
    if (next === undefined) return this.#rules.add('object', `"{" ${blanks} "}"`);
    return this.#rules.add('object', `"{" ${blanks} ${optional(`${next} ${blanks}`, isRequired)} "}"`);
  }

  /** A member of a name that is none of these. */
  #extra(names: readonly string[], rest: Shape): string {
    const plain = names.filter((name) => JSON.stringify(name) === `"${name}"`);
    const characters = this.#rules.add('characters', `${plainCharacter()}*`);
    const name =
      names.length === 0
        ? this.rule({ type: 'string', min: 0, max: undefined })
        : this.#rules.add('name', `"\\"" ${noneOfWords(plain, characters)} "\\""`);
    return this.#rules.add('extra', `${name} ":" ${this.#blanks()} ${this.rule(rest)}`);
  }

  /** `max` undefined: any number. */
  #repeat(rule: string, min: number, max: number | undefined): string {
    this.#unrolled += Math.ceil((max ?? min) / GROUP) + GROUP;
    if (this.#unrolled > MAX_UNROLLED) throw refused(this.#path, 'has bounds on lengths that are too large together');
    if (max === undefined) return `${this.#exactly(rule, min)} ${rule}*`;
    return `${this.#exactly(rule, min)} ${this.#upTo(rule, max - min)}`;
  }

  #exactly(rule: string, count: number): string {
    const groups = Math.floor(count / GROUP);
    const rest = count % GROUP;
    return [
      ...(groups === 0 ? [] : [`${this.#group(rule)}{${groups}}`]),
      ...(rest === 0 ? [] : [`${rule}{${rest}}`]),
    ].join(' ');
  }

  #upTo(rule: string, count: number): string {
    if (count === 0) return '';
    if (count <= GROUP) return `${rule}{0,${count}}`;
    const groups = Math.floor(count / GROUP);
    const fewer = [...(groups === 1 ? [] : [`${this.#group(rule)}{0,${groups - 1}}`]), `${rule}{0,${GROUP - 1}}`];
    const full = [`${this.#group(rule)}{${groups}}`, ...(count % GROUP === 0 ? [] : [`${rule}{0,${count % GROUP}}`])];
    return this.#rules.add('up-to', `${fewer.join(' ')} | ${full.join(' ')}`);
  }

  #group(rule: string): string {
    return this.#rules.add('group', `${rule}{${GROUP}}`);
  }
}

function stateBody(state: TextState | undefined, names: readonly string[]): string {
  const ways = [...(state?.ways ?? [])].flatMap(([to, set]) => {
    const plain = intersection(set, PLAIN_CHARACTERS);
    const letters = SHORT_ESCAPES.filter(([code]) => includes(set, code)).map(([, letter]) => letter);
    const escapes = letters.map((letter) => literal(`\\${letter}`)).join(' | ');
    return [
      ...(plain.length === 0 ? [] : [`${characterClass(plain)} ${names[to] ?? ''}`]),
      ...(letters.length === 0 ? [] : [`(${escapes}) ${names[to] ?? ''}`]),
    ];
  });
  return [...ways, ...(state?.mayEnd === true ? ['"\\""'] : [])].join(' | ');
}

function optional(body: string, isRequired: boolean): string {
  return isRequired ? body : `(${body})?`;
}
