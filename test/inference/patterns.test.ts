import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { checkSchema } from '../../src/inference/grammar/check-schema.js';
import { includes } from '../../src/inference/grammar/character-set.js';
import { Languages, LanguageTooLarge } from '../../src/inference/grammar/languages.js';
import { patternLanguage } from '../../src/inference/grammar/pattern-reader.js';
import { SchemaReader } from '../../src/inference/grammar/schema-reader.js';
import { textStates, type TextState } from '../../src/inference/grammar/text-states.js';
import { Texts } from '../../src/inference/grammar/texts.js';
import type { JsonObject } from '../../src/inference/types.js';
import { validatorOf } from '../support/schemas.js';

/** Patterns against JavaScript's own regular expressions. */

const RUNS = Number(process.env['DARKBLOOM_TEST_RUNS'] ?? 500);

function statesOf(pattern: string): TextState[] {
  const languages = new Languages(1_000_000);
  return textStates(patternLanguage(pattern, languages), languages);
}

function accepts(states: readonly TextState[], text: string): boolean {
  let at = states[0];
  for (const character of text) {
    const [to] = [...(at?.ways ?? [])].find(([, set]) => includes(set, character.codePointAt(0) ?? 0)) ?? [];
    at = to === undefined ? undefined : states[to];
  }
  return at?.mayEnd === true;
}

/** A text of theirs, by these choices. */
function walk(states: readonly TextState[], choices: readonly number[]): string | undefined {
  let text = '';
  let at = states[0];
  for (const choice of choices) {
    const ways = [...(at?.ways ?? [])];
    const [to, set = []] = ways[choice % Math.max(1, ways.length)] ?? [];
    if (to === undefined || (at?.mayEnd === true && choice % 5 === 0)) break;
    const [first, last] = set[choice % set.length] ?? [0, 0];
    text += String.fromCodePoint(first + (choice % (last - first + 1)));
    at = states[to];
  }
  return at?.mayEnd === true ? text : undefined;
}

const character = fc.constantFrom(...'abc01_-. ');
const atom = fc.oneof(
  fc.constantFrom('a', 'b', 'c', '0', '_', '\\.', '.', '\\d', '\\w', '\\S', '\\W', '[ab]', '[^a]', '[a-c0-9]', '[^\\d_-]', '\\x61', '\\u{62}'),
  character.map((each) => (each === '.' ? '\\.' : each)),
); // prettier-ignore
const quantifier = fc.constantFrom('', '', '', '*', '+', '?', '{2}', '{1,}', '{0,2}', '{1,3}?', '*?');
const piece = fc.letrec<{ any: string; ways: string }>((tie) => ({
  ways: fc.array(fc.array(tie('any'), { maxLength: 3 }).map((all) => all.join('')), { minLength: 1, maxLength: 2 }).map((all) => all.join('|')),
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.tuple(atom, quantifier).map((all) => all.join('')),
    fc.tuple(tie('ways'), fc.constantFrom('(?:', '(', '(?<name>'), quantifier).map(([of, open, times]) => `${open === '(?<name>' ? '(?:' : open}${of})${times}`),
    fc.tuple(tie('ways'), fc.constantFrom('(?=', '(?!')).map(([of, open]) => `${open}${of})`),
    fc.tuple(tie('ways'), fc.constantFrom('(?:', '(?=')).map(([of, open]) => `${open}${of}$)`),
  ),
})); // prettier-ignore
const pattern = fc
  .tuple(fc.constantFrom('', '^'), piece.ways, fc.constantFrom('', '$'))
  .map(([begin, body, end]) => (begin + end === '' ? body : `${begin}(?:${body})${end}`));

test('a pattern is found in the same texts as by JavaScript', () => {
  let read = 0;
  let found = 0;
  fc.assert(
    fc.property(
      pattern,
      fc.array(fc.string({ unit: character, maxLength: 6 }), { minLength: 12, maxLength: 12 }),
      fc.array(fc.array(fc.nat(), { maxLength: 8 }), { minLength: 4, maxLength: 4 }),
      (source, texts, walks) => {
        let states: TextState[];
        try {
          states = statesOf(source);
        } catch (error) {
          if (error instanceof LanguageTooLarge) return; // counts within counts
          expect(error).toMatchObject({ name: 'UnreadablePattern', message: /repeats what looks ahead/u });
          return;
        }
        read++;
        const expression = new RegExp(source, 'u');
        for (const text of texts) {
          if (expression.test(text)) found++;
          expect(accepts(states, text), `${source} ${JSON.stringify(text)}`).toBe(expression.test(text));
        }
        for (const choices of walks) {
          const text = walk(states, choices);
          if (text !== undefined) expect(expression.test(text), `${source} ${JSON.stringify(text)}`).toBe(true);
        }
      },
    ),
    { numRuns: RUNS, seed: 11 },
  );
  expect(read).toBeGreaterThan(RUNS / 2);
  expect(found).toBeGreaterThan(RUNS);
});

test.each([
  ['a|^b', 'xa b xb ^b'],
  ['^(?:a|bc)+$', 'a bca ab b'],
  ['^(?!.*--)[a-z-]{2,5}$', 'a-b a--b -- ab abcdef'],
  ['^[^"\\\\]*$', 'a a"b a\\b'],
  ['^\\+?[1-9]\\d{1,14}$', '+4912345 0123 +1 12'],
  ['^[A-Z]{2}\\d{2}(?: \\w{4})*$', 'DE12 DE12_ABCD AB12'],
  ['^\\p', ''],
  ['^[\\]a-]$', '] a - b'],
  ['^(?<year>\\d{4})-\\w$', '2024-a 2024-'],
  ['^\\u{1f600}|😀😀$', '😀 😀😀 a😀'],
  ['^a(?=b)b$|^a(?=c)b$', 'ab ac'],
  ['x^', 'x'],
  ['^$', ' a'],
])('%s is read like JavaScript reads it', (source, texts) => {
  let expression: RegExp;
  try {
    expression = new RegExp(source, 'u');
  } catch {
    expect(() => statesOf(source)).toThrow(/is no regular expression/u);
    return;
  }
  const states = statesOf(source);
  for (const text of ['', ...texts.split(' ')]) {
    expect(accepts(states, text), text).toBe(expression.test(text));
  }
});

test.each([
  ['(?<=a)b', 'looks back or changes flags'],
  ['(?<!a)b', 'looks back or changes flags'],
  ['(a)\\1', "has '\\1', which is not supported"],
  ['\\bword', "has '\\b', which is not supported"],
  ['\\p{L}+', "has '\\p', which is not supported"],
  ['a*^b', "has a '^' behind what may be empty"],
  ['(?:(?=a)a)+', 'repeats what looks ahead'],
  ['\\ud83d\\ude00', 'has halves of characters'],
  ['(', 'is no regular expression'],
  [`${'('.repeat(500)}a${')'.repeat(500)}`, 'has groups that are nested more than 64 deep'],
  ['^(?:[ab]{1,900}c){900}$', 'too large for a grammar'],
  ['^(?:a?){900}(?:b?a?){900}$', 'too large for a grammar'],
  [`^${'[ab]*a[ab]{19}'}$`, 'too large for a grammar'],
  ['^a$b', 'allows no text'],
  ['^\\x00$', 'allows no text'],
])('%s is refused', (source, why) => {
  expect(() => checkSchema({ type: 'string', pattern: source }, 's')).toThrow(why);
});

describe("zod's own strings", () => {
  const SHAPES = {
    email: z.email(),
    uuid: z.uuid(),
    uuidv4: z.uuidv4(),
    url: z.url(),
    date: z.iso.date(),
    time: z.iso.time(),
    datetime: z.iso.datetime(),
    duration: z.iso.duration(),
    ipv4: z.ipv4(),
    ipv6: z.ipv6(),
    regex: z.string().regex(/^[A-Z]{3}-\d{4}$/u),
    two: z
      .string()
      .regex(/a/u)
      .regex(/^[ab]+$/u)
      .max(5),
    begins: z.string().startsWith('ab').endsWith('c').includes('.'),
    lower: z.string().lowercase().min(2).max(9),
  };
  test.each(Object.entries(SHAPES))('%s can be said, and what is said is of it', (name, shape) => {
    const { $schema: _, ...schema } = z.toJSONSchema(shape) as JsonObject;
    const read = new SchemaReader(schema, name, new Texts()).read();
    expect(read.type).toBe('text');
    const states = read.type === 'text' ? read.states : [];
    const validate = validatorOf(schema);
    let said = 0;
    for (const choices of fc.sample(fc.array(fc.nat(), { minLength: 90, maxLength: 90 }), { numRuns: 60, seed: 5 })) {
      const text = walk(states, choices);
      if (text === undefined) continue;
      said++;
      expect(validate(text), text).toBe(true);
      expect(shape.safeParse(text).success, text).toBe(true);
    }
    expect(said).toBeGreaterThan(5);
  });
});
