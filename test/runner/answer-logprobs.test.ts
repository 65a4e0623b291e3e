import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { TokenLogprob } from '../../src/inference/types.js';
import { AnswerLogprobs } from '../../src/runner/answer-logprobs.js';
import { StopMatcher, Utf8Stream } from '../../src/runner/answer-text.js';

const told = (token: Uint8Array, id: number): TokenLogprob => ({
  token: String(id),
  logprob: -id,
  bytes: [...token],
  top: [],
});

/** An answer of these tokens as the runner streams it: its text, and the tokens told beside each piece of it. */
function streamed(tokens: readonly Uint8Array[], stops: readonly string[]) {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const utf8 = new Utf8Stream(
    (ids) => decoder.decode(Buffer.concat(ids.map((id) => tokens[id] ?? new Uint8Array()))),
    (id) => [...(tokens[id] ?? [])],
  );
  const matcher = new StopMatcher(stops);
  const logprobs = new AnswerLogprobs();
  const pieces: { text: string; tokens: TokenLogprob[] }[] = [];
  const show = (text: string) => pieces.push({ text, tokens: logprobs.show(text) });
  for (const [id, token] of tokens.entries()) {
    const produced = utf8.push(id);
    logprobs.push(told(token, id), produced);
    const { text, stop } = matcher.push(produced);
    show(text);
    if (stop !== null) return { pieces, stop };
  }
  show(matcher.flush());
  return { pieces, stop: null };
}

function cut(whole: Uint8Array, places: readonly number[]): Uint8Array[] {
  const inOrder = [...new Set(places.map((place) => place % (whole.length + 1)))].sort((a, b) => a - b);
  return [0, ...inOrder].map((from, index) => whole.slice(from, inOrder[index])).filter((piece) => piece.length > 0);
}

const text = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '語', '😀'), maxLength: 40 });
const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'é', '😀'), minLength: 1, maxLength: 4 }), {
  maxLength: 2,
});
const places = fc.array(fc.nat(200), { maxLength: 60 });

test('wherever the bytes are cut into tokens, the text and its end are the same, and each token is told with its text', () => {
  fc.assert(
    fc.property(text, stops, places, (whole, each, at) => {
      const bytes = new TextEncoder().encode(whole);
      const { pieces, stop } = streamed(cut(bytes, at), each);
      const shown = pieces.map((piece) => piece.text).join('');
      const atOnce = streamed([bytes], each);
      expect(shown).toBe(atOnce.pieces.map((piece) => piece.text).join(''));
      expect(stop).toBe(atOnce.stop);

      const all = pieces.flatMap(({ tokens }) => tokens);
      expect(all.map(({ token }) => Number(token))).toEqual(all.map((_, index) => index)); // in order, none left out
      const toldBytes = Buffer.from(all.flatMap((token) => token.bytes));
      const shownBytes = Buffer.from(shown);
      expect(toldBytes.subarray(0, shownBytes.length)).toEqual(shownBytes);
      expect(toldBytes.length - (all.at(-1)?.bytes.length ?? 0)).toBeLessThanOrEqual(shownBytes.length);
      if (stop === null) expect(toldBytes).toEqual(shownBytes);
    }),
    { seed: 1 },
  );
});

test('what another part of the answer took is not told: the rest still stands with its text', () => {
  const logprobs = new AnswerLogprobs();
  for (const [id, piece] of ['</think>', '\n\nHel', 'lo', '<call>', 'x', ' there'].entries())
    logprobs.push(told(new Uint8Array(), id), piece);
  expect(logprobs.show('Hello').map(({ token }) => token)).toEqual(['1', '2']);
  expect(logprobs.show(' there').map(({ token }) => token)).toEqual(['5']);
});
