import { stripVTControlCharacters } from 'node:util';
import { environment } from '../config.js';
import { print } from './style.js';

/** How text fits the width of a screen. */

/** Where nobody knows how wide the screen is. */
export const DEFAULT_WIDTH = 80;
/** Narrower, the terminal wraps by itself. */
const MIN_WIDTH = 40;

/** Columns of the terminal; in a pipe the variable `COLUMNS`, and without it `elsewhere`. */
export function screenWidth(elsewhere: number): number {
  const told = /^\d{1,5}$/u.exec(environment['COLUMNS'] ?? '')?.[0];
  const width = process.stdout.columns || (told === undefined ? elsewhere : Number(told));
  return Math.max(MIN_WIDTH, width);
}

/** Cuts what does not fit, and says so with an ellipsis. What a peer wrote may not steer the terminal. */
export function fit(text: string, width: number): string {
  const plain = text.replace(/\p{C}+/gu, ' ');
  return plain.length <= width ? plain : `${plain.slice(0, Math.max(0, width - 1))}…`;
}

/** Words in lines of at most `width`, but for a word that is longer: a path or an address stays whole, to be copied.
 *  What a peer wrote may not steer the terminal. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.trim().split(/[\s\p{C}]+/u)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** `head` and a text beside it: its further lines begin under its first. Pure. */
export function hanging(head: string, text: string, width: number): string[] {
  const indent = stripVTControlCharacters(head).length;
  return wrapped(text, width - indent).map((line, index) => (index === 0 ? head : ' '.repeat(indent)) + line);
}

/** Prints it as wide as the terminal; in a pipe as one line, for `grep`. */
export function printHanging(head: string, text: string): void {
  for (const line of hanging(head, text, screenWidth(Infinity))) print(line);
}
