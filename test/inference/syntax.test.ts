import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AnswerReader } from '../../src/inference/syntax/answer-reader.js';
import { DEEPSEEK } from '../../src/inference/syntax/deepseek.js';
import { FUNCTION_GEMMA, GEMMA3, GEMMA4 } from '../../src/inference/syntax/gemma.js';
import { HARMONY } from '../../src/inference/syntax/harmony.js';
import { HERMES } from '../../src/inference/syntax/hermes.js';
import { LLAMA } from '../../src/inference/syntax/llama.js';
import { MISTRAL } from '../../src/inference/syntax/mistral.js';
import type { Syntax } from '../../src/inference/syntax/syntax.js';
import type { ContentEvent } from '../../src/inference/types.js';
import { ANSWERS, TOOLS, type Options, type Read } from '../support/family-answers.js';

/** All that an answer says, whatever its events were. */
function read(syntax: Syntax, pieces: readonly string[], options: Options = {}): Required<Read> {
  const { tools = TOOLS, parallel = true, begins = 'text', cut = false } = options;
  let ids = 0;
  const reader = new AnswerReader(syntax, { tools, parallel, begins, newCallId: () => `call_${ids++}` });
  const events = pieces.flatMap((piece) => reader.push(piece));
  const { over } = reader;
  return { ...summary([...events, ...reader.flush(cut)]), over };
}

function summary(events: readonly ContentEvent[]): Omit<Required<Read>, 'over'> {
  const said = { text: '', reasoning: '', calls: [] as [string, string][] };
  for (const event of events) {
    if (event.type === 'tool_call') {
      expect(event).toMatchObject({ index: said.calls.length, id: `call_${said.calls.length}` });
      said.calls.push([event.name, '']);
    } else if (event.type === 'tool_arguments') {
      expect(event.index).toBe(said.calls.length - 1);
      const call = said.calls[event.index];
      if (call !== undefined) call[1] += event.text;
    } else {
      said[event.type] += event.text;
    }
  }
  return said;
}

const SYNTAXES: Syntax[] = [HERMES, LLAMA, MISTRAL, GEMMA3, GEMMA4, FUNCTION_GEMMA, HARMONY, DEEPSEEK];

describe('an answer is read', () => {
  test.each(ANSWERS.map(([name, syntax, ...rest]) => [`${syntax.name}: ${name}`, syntax, ...rest] as const))(
    '%s',
    (_, syntax, answer, said, options) => {
      const expected = { text: '', reasoning: '', calls: [], over: false, ...said };
      expect(read(syntax, [answer], options)).toEqual(expected);
      expect(read(syntax, [...answer], options)).toEqual(expected);
    },
  );
});

/** Texts made of what the families write, whole and broken, so that every path is met. */
const PIECES = [
  ...new Set(
    ANSWERS.flatMap(([, syntax, answer]) => [answer, ...syntax.marks]).concat(
      [
        '{',
        '}',
        '[',
        ']',
        '"',
        ':',
        ',',
        ';',
        '\n',
        ' ',
        '\\',
        '\\u00',
        'get_weather',
        'stop',
        '"name"',
        '"arguments"',
      ],
      [
        'null',
        '-1.5e',
        'tru',
        'é',
        '😀',
        '\ud83d',
        '```',
        'call:',
        'to=functions.',
        '<|"|>',
        '<escape>',
        '<tool',
        '</',
      ],
    ),
  ),
];
const piece = fc.oneof(
  fc.constantFrom(...PIECES),
  fc
    .tuple(fc.constantFrom(...PIECES), fc.nat(200), fc.nat(200))
    .map(([text, a, b]) => text.slice(Math.min(a, b), Math.max(a, b))),
  fc.string({ maxLength: 4 }),
);
const answer = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));
const options = fc.record({
  parallel: fc.boolean(),
  begins: fc.constantFrom('text' as const, 'reasoning' as const),
  tools: fc.constantFrom(TOOLS, TOOLS, []),
});
const cuts = fc.array(fc.nat(400), { maxLength: 20 });

function cutAt(text: string, places: readonly number[]): string[] {
  const inOrder = [...new Set(places.map((place) => place % (text.length + 1)))].sort((a, b) => a - b);
  return [0, ...inOrder].map((from, index) => text.slice(from, inOrder[index]));
}

/** In CI a sample; `npm run test:languages` takes the full figure. */
const RUNS = Number(process.env.DARKBLOOM_TEST_RUNS ?? 300);

describe.each(SYNTAXES.map((syntax) => [syntax.name, syntax] as const))('whatever %s answers', (_, syntax) => {
  test('it says the same however it falls into pieces', () => {
    fc.assert(
      fc.property(answer, cuts, options, fc.boolean(), (text, places, each, cut) => {
        const { over: _over, ...split } = read(syntax, cutAt(text, places), { ...each, cut });
        const { over: _whole, ...whole } = read(syntax, [text], { ...each, cut });
        expect(split).toEqual(whole);
      }),
      { numRuns: RUNS },
    );
  });

  test('the arguments of its calls are JSON objects, and the calls are of tools that were offered', () => {
    fc.assert(
      fc.property(answer, options, (text, each) => {
        const { calls } = read(syntax, [text], each);
        for (const [name, args] of calls) {
          expect(each.tools.map((tool) => tool.name)).toContain(name);
          expect(JSON.parse(args)).toBeTypeOf('object');
        }
        if (!each.parallel) expect(calls.length).toBeLessThanOrEqual(1);
      }),
      { numRuns: RUNS },
    );
  });

  test('without its marks it is text, to the last character', () => {
    const plain = fc.string({ unit: fc.constantFrom(...'ab c{}"\n😀é<[`|'), minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(plain, cuts, (text, places) => {
        expect(read(syntax, cutAt(text, places)).text).toBe(text);
      }),
      { numRuns: RUNS },
    );
  });
});
