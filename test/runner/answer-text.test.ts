import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StopMatcher, Utf8Stream, type Detokenize } from '../../src/runner/answer-text.js';

/** A vocabulary in which each of these is one token; its text is what a decoder makes of all the bytes at once. */
function vocabulary(pieces: readonly Uint8Array[]): Detokenize {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return (tokens) => decoder.decode(Buffer.concat(tokens.map((token) => pieces[token] ?? new Uint8Array())));
}

/** What each token gives, and at the end what was left. */
function streamed(pieces: readonly Uint8Array[]): string[] {
  const stream = new Utf8Stream(vocabulary(pieces), (token) => [...(pieces[token] ?? [])]);
  const shown = pieces.map((_, token) => stream.push(token));
  return [...shown, stream.flush()];
}

/** `text` cut at these places, in bytes or in characters. */
function cut<T extends { length: number; slice(from: number, to?: number): T }>(
  whole: T,
  places: readonly number[],
): T[] {
  const inOrder = [...new Set(places.map((place) => place % (whole.length + 1)))].sort((a, b) => a - b);
  return [0, ...inOrder].map((from, index) => whole.slice(from, inOrder[index])).filter((piece) => piece.length > 0);
}

const places = fc.array(fc.nat(500), { maxLength: 100 });
const anyText = fc.string({ unit: 'grapheme', maxLength: 60 }).filter((text) => !text.includes('\uFFFD'));
/** A model may write it: it has bytes of its own. */
const REPLACEMENT = '\uFFFD';

describe('tokens become text', () => {
  test('that is the same however the bytes fall into tokens, and never has half a character in it', () => {
    fc.assert(
      fc.property(anyText, places, (text, at) => {
        const shown = streamed(cut(new TextEncoder().encode(text), at));
        expect(shown.join('')).toBe(text);
        expect(shown.join('|')).not.toContain('\uFFFD');
      }),
    );
  });

  test('that is the same when no token ends with a character', () => {
    const bytes = new TextEncoder().encode('日本語のとても長い文章です');
    const pieces = [
      bytes.slice(0, 1),
      ...Array.from({ length: 13 }, (_, index) => bytes.slice(3 * index + 1, 3 * index + 4)),
    ];
    expect(streamed(pieces).join('')).toBe('日本語のとても長い文章です');
  });

  test('as soon as it is whole', () => {
    const bytes = new TextEncoder().encode('a😀b');
    const pieces = [0, 1, 2, 3, 4, 5].map((at) => bytes.slice(at, at + 1));
    expect(streamed(pieces)).toEqual(['a', '', '', '', '😀', 'b', '']);
  });

  test('and what is whole is shown though the beginning of a character follows it in the same token', () => {
    const bytes = new TextEncoder().encode('ab😀');
    expect(streamed([bytes.slice(0, 4), bytes.slice(4)])).toEqual(['ab', '😀', '']);
  });

  test('without the beginning of a character that never came', () => {
    const bytes = new TextEncoder().encode('ab😀');
    expect(streamed([bytes.slice(0, 1), bytes.slice(1, 4)])).toEqual(['a', 'b', '']);
  });

  test('with the replacement character where the model wrote it, at the very end too', () => {
    fc.assert(
      fc.property(
        anyText,
        fc.integer({ min: 1, max: 4 }),
        places,
        fc.integer({ min: 0, max: 3 }),
        (text, n, at, more) => {
          const whole = text + REPLACEMENT.repeat(n);
          const unfinished = new TextEncoder().encode('😀').slice(0, more);
          const bytes = Buffer.concat([new TextEncoder().encode(whole), unfinished]);
          expect(streamed(cut(bytes, at)).join('')).toBe(whole);
        },
      ),
    );
  });

  test('also when the bytes are none, however many come', () => {
    const broken = Array.from({ length: 1_000 }, () => Uint8Array.of(0xff));
    const shown = streamed([...broken, new TextEncoder().encode('then text')]);
    expect(shown.join('').replaceAll('\uFFFD', '')).toBe('then text');
  });

  test('with the tokens before them at hand, for spaces that depend on those', () => {
    const words = ['Once', 'upon', 'a', 'time', 'there', 'was'];
    const detokenize: Detokenize = (tokens, before) =>
      tokens.map((token, index) => (index + before.length > 0 ? ' ' : '') + (words[token] ?? '')).join('');
    const stream = new Utf8Stream(detokenize, () => []);
    expect(words.map((_, token) => stream.push(token)).join('')).toBe('Once upon a time there was');
  });

  test('of which only a few come again with each token', () => {
    const longest: number[] = [];
    const stream = new Utf8Stream(
      (tokens, before) => {
        longest.push(tokens.length + before.length);
        return '\uFFFD';
      },
      () => [],
    );
    for (let token = 0; token < 1_000; token++) stream.push(token);
    expect(Math.max(...longest)).toBeLessThan(100);
  });
});

/** All that is shown of these pieces, and the stop string that ended it. */
function matched(stops: readonly string[], pieces: readonly string[]): { text: string; stop: string | null } {
  const matcher = new StopMatcher(stops);
  let text = '';
  for (const piece of pieces) {
    const { text: shown, stop } = matcher.push(piece);
    text += shown;
    if (stop !== null) return { text, stop };
  }
  return { text: text + matcher.flush(), stop: null };
}

describe('an answer ends before its stop string', () => {
  test.each<[string[], string[], string, string | null]>([
    [[], ['all ', 'of it'], 'all of it', null],
    [['END'], ['all of it'], 'all of it', null],
    [['END'], ['before END after'], 'before ', 'END'],
    [['END'], ['before E', 'N', 'D after'], 'before ', 'END'],
    [['END'], ['before EN', 'd after'], 'before ENd after', null],
    [['END'], ['EN'], 'EN', null],
    [['aab'], ['aa', 'aab'], 'aa', 'aab'],
    [['\n\n'], ['one\n', 'two\n', '\nthree'], 'one\ntwo', '\n\n'],
    [['😀'], ['a\u{1F601}', '\u{1F600}b'], 'a😁', '😀'],
    [['one', 'two'], ['a two one'], 'a ', 'two'],
    [['abc', 'b'], ['abc'], 'a', 'b'],
    [['abc', 'b'], ['ab', 'c'], 'a', 'b'],
    [['ab', 'abc'], ['xabc'], 'x', 'ab'],
    [['abc', 'bc'], ['xabc'], 'x', 'abc'],
    [['bc', 'abc'], ['xab', 'c'], 'x', 'abc'],
  ])('stops %j, pieces %j', (stops, pieces, text, stop) => {
    expect(matched(stops, pieces)).toEqual({ text, stop });
  });

  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '😀'), maxLength: 40 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'é', '😀'), minLength: 1, maxLength: 5 }), {
    maxLength: 4,
  });

  test('wherever the text is cut into pieces', () => {
    fc.assert(
      fc.property(stops, letters, places, (each, text, at) => {
        expect(matched(each, cut(text, at))).toEqual(matched(each, [text]));
      }),
    );
  });

  test('and is all the text before it: the one that was complete first', () => {
    fc.assert(
      fc.property(stops, letters, places, (each, text, at) => {
        const { text: shown, stop } = matched(each, cut(text, at));
        if (stop === null) {
          expect(shown).toBe(text);
          for (const one of each) expect(text).not.toContain(one);
        } else {
          const end = shown.length + stop.length;
          expect(text.slice(0, end)).toBe(shown + stop);
          for (const one of each) expect(text.slice(0, end - 1)).not.toContain(one);
        }
      }),
    );
  });

  test('and is shown as early as it can be', () => {
    const matcher = new StopMatcher(['END']);
    expect(matcher.push('a very long text, E').text).toBe('a very long text, ');
    expect(matcher.push('x').text).toBe('Ex');
  });
});
