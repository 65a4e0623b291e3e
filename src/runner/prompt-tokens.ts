import type { ControlTokens } from '../inference/control-tokens.js';
import type { PromptRun } from '../inference/prompt.js';

/** From a prompt to tokens, in slices: tokenizing takes time in which nothing else of this process goes on. */

/** Characters between two pauses: some milliseconds. */
const SLICE_CHARACTERS = 8_192;
/** From the end of a slice so far back a place between words is looked for. */
const WORD_SEARCH_CHARACTERS = 256;

export interface PromptVocabulary {
  /** Text of each control token → its id. */
  control: ReadonlyMap<string, number>;
  /** Tokens that the tokenizer finds in any text. They are kept out of plain text. */
  found: ControlTokens;
  /** The tokenizer puts a space in front of what it is given (SentencePiece). */
  spaceInFront: boolean;
  /** Plain text. */
  tokenize: (text: string) => readonly number[];
}

/** Yields the number of tokens so far where a pause is due, and returns all of them. */
export function* tokenizeRuns(runs: readonly PromptRun[], vocabulary: PromptVocabulary): Generator<number, number[]> {
  const tokens: number[] = [];
  let since = 0;
  for (const run of runs) {
    const control = run.type === 'control' ? vocabulary.control.get(run.token) : undefined;
    if (control !== undefined) {
      tokens.push(control);
      continue;
    }
    let begins = true;
    for (const piece of piecesOf(run.type === 'text' ? run.text : run.token, vocabulary.found)) {
      for (const token of begins ? vocabulary.tokenize(piece) : continued(piece, vocabulary)) tokens.push(token);
      begins = false;
      since += piece.length;
      if (since < SLICE_CHARACTERS - WORD_SEARCH_CHARACTERS) continue;
      since = 0;
      yield tokens.length;
    }
  }
  return tokens;
}

/** Pieces of a text that hold none of these tokens, and none of them much longer than a slice. */
function* piecesOf(text: string, found: ControlTokens): Generator<string> {
  let begin = 0;
  let next = found.find(text);
  while (begin < text.length) {
    // behind its first character no token can be found any more
    const broken = next === undefined ? text.length : next.at + ((text.codePointAt(next.at) ?? 0) > 0xffff ? 2 : 1);
    const end = broken - begin > SLICE_CHARACTERS ? betweenWords(text, begin + SLICE_CHARACTERS) : broken;
    yield text.slice(begin, end);
    begin = end;
    if (end === broken && next !== undefined) next = found.find(text, next.at + 1);
  }
}

/** A place before a single space, where every tokenizer begins a new word; or `at` itself, where there is none. */
function betweenWords(text: string, at: number): number {
  for (let place = at; place > at - WORD_SEARCH_CHARACTERS; place--) {
    if (text[place] === ' ' && /^\S \S$/u.test(text.slice(place - 1, place + 2))) return place;
  }
  return /[\uDC00-\uDFFF]/u.test(text[at] ?? '') ? at + 1 : at;
}

/** Text that goes on in the middle of a line: without the space that a tokenizer would put in front. */
function continued(text: string, { spaceInFront, tokenize }: PromptVocabulary): readonly number[] {
  if (!spaceInFront) return tokenize(text);
  return tokenize(`\n${text}`).slice(tokenize('\n').length);
}
