import { EVERY_CHARACTER } from './character-set.js';
import { refused, refusedKeyword } from './keywords.js';
import { LanguageTooLarge, Languages } from './languages.js';
import { patternLanguage, UnreadablePattern } from './pattern-reader.js';
import type { TextShape } from './shape.js';
import { textStates } from './text-states.js';

/** What the patterns and formats of one grammar may take to be read: a tenth of a second. */
const MAX_STEPS = 150_000;

const TOO_LARGE = 'has patterns or formats that are too large for a grammar; let them repeat less';

/** The strings with patterns in one grammar: each is read once. */
export class Texts {
  readonly #read = new Map<string, TextShape>();
  #stepsLeft = MAX_STEPS;

  /** Strings of `min` to `max` characters in which all of these patterns are found.
   *  @throws DarkbloomError `unprocessable` for what cannot be read, is too large, or allows nothing. */
  shapeOf(patterns: readonly string[], min: number, max: number | undefined, path: string): TextShape {
    const name = JSON.stringify([patterns, min, max]);
    const known = this.#read.get(name);
    if (known !== undefined) return known;
    const languages = new Languages(this.#stepsLeft);
    try {
      const length = languages.repeat(languages.set(EVERY_CHARACTER), min, max ?? Infinity);
      const language = languages.both([length, ...patterns.map((each) => patternLanguage(each, languages))]);
      const states = textStates(language, languages);
      if (states.length === 0) throw refused(path, 'allows no text that could be written');
      const shape: TextShape = { type: 'text', name, states };
      this.#read.set(name, shape);
      return shape;
    } catch (error) {
      if (error instanceof UnreadablePattern) throw refusedKeyword(path, 'pattern', error.message);
      if (error instanceof LanguageTooLarge) throw refused(path, TOO_LARGE);
      throw error;
    } finally {
      this.#stepsLeft = Math.max(0, languages.stepsLeft);
    }
  }
}
