import { DarkbloomError } from '../../errors.js';
import type { JsonObject } from '../types.js';
import { addSchema } from './schema.js';
import { Texts } from './texts.js';

/** Rules of one grammar: reading one of so many takes tens of milliseconds. */
const MAX_RULES = 4_000;
const MAX_GRAMMAR_CHARACTERS = 400_000;

/**
 * The rules of one grammar in GBNF, as llama.cpp reads it (its `grammars/README.md`). What a rule's body names must be
 * names that came from here.
 */
export class GrammarRules {
  readonly texts: Texts;
  readonly #bodies = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #made = new Map<string, string>();
  #taken = 0;
  #characters = 0;

  /** `texts`: of another grammar, whose strings with patterns are the same ones. */
  constructor(texts = new Texts()) {
    this.texts = texts;
  }

  /** A rule with this body; one that is there already serves again. Returns its name.
   *  @throws DarkbloomError `unprocessable` when there would be too many rules. */
  add(name: string, body: string): string {
    const known = this.#names.get(body);
    if (known !== undefined) return known;
    const unique = this.reserve(name);
    this.#names.set(body, unique);
    this.define(unique, body);
    return unique;
  }

  /** The name of the rule that was made under this key, or that `make` makes now. */
  once(key: string, make: () => string): string {
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const name = make();
    this.#made.set(key, name);
    return name;
  }

  /** A name for a rule that is defined later: rules that name themselves need it. */
  reserve(name: string): string {
    this.#taken++;
    if (this.#taken > MAX_RULES) throw tooLarge(`more than ${MAX_RULES} rules`);
    return `${name.replaceAll(/[^a-zA-Z0-9]+/gu, '-').slice(0, 32)}-${this.#taken}`;
  }

  /** Gives a reserved name its body. */
  define(name: string, body: string): void {
    this.#characters += name.length + body.length;
    if (this.#characters > MAX_GRAMMAR_CHARACTERS) throw tooLarge(`more than ${MAX_GRAMMAR_CHARACTERS} characters`);
    this.#bodies.set(name, body);
  }

  /** A rule for the JSON values that a schema allows. `path` is where the schema stands in the request.
   *  @throws DarkbloomError `unprocessable` naming the keyword and its place, for what a grammar cannot say. */
  schema(schema: JsonObject, path: string): string {
    return addSchema(this, schema, path);
  }

  /** The whole grammar, beginning with this rule. */
  text(root: string): string {
    return [['root', root], ...this.#bodies].map(([name, body]) => `${name} ::= ${body}\n`).join('');
  }
}

function tooLarge(what: string): DarkbloomError {
  return new DarkbloomError('unprocessable', `The grammar for this request has ${what}.`);
}
