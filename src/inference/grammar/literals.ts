import { complement, intersection, union, type CharacterSet } from './character-set.js';

/** Text as GBNF writes it. */

/** Characters that a JSON string may hold as they are. Ranges, not exceptions: what a broken encoding decodes to is in
 *  none of them. */
export const PLAIN_CHARACTERS: CharacterSet = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x7e],
  [0xa0, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** A literal. */
export function literal(text: string): string {
  const escaped = text.replaceAll(/["\\\p{Cc}]/gu, (character) => {
    if (character === '"' || character === '\\') return `\\${character}`;
    return `\\x${codeOf(character).toString(16).padStart(2, '0')}`;
  });
  return `"${escaped}"`;
}

/** A class of the characters that a JSON string may hold as they are, without some of them. */
export function plainCharacter(without: readonly string[] = []): string {
  const others = complement(union(without.map((character) => [[codeOf(character), codeOf(character)]])));
  return characterClass(intersection(PLAIN_CHARACTERS, others));
}

/** A class of these characters. */
export function characterClass(set: CharacterSet): string {
  return `[${set.map(([from, to]) => classCharacter(from) + (from === to ? '' : `-${classCharacter(to)}`)).join('')}]`;
}

function classCharacter(code: number): string {
  const character = String.fromCodePoint(code);
  if (/[0-9a-zA-Z]/u.test(character)) return character;
  const hex = code.toString(16);
  return code <= 0xff ? `\\x${hex.padStart(2, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

function codeOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}

/** What words have in common stands once: the words' number does not slow the reading. */
interface Node {
  next: Map<string, Node>;
  isWord: boolean;
}

function treeOf(words: readonly string[]): Node {
  const root: Node = { next: new Map(), isWord: false };
  for (const word of words) {
    let node = root;
    for (const character of word) {
      const next = node.next.get(character) ?? { next: new Map<string, Node>(), isWord: false };
      node.next.set(character, next);
      node = next;
    }
    node.isWord = true;
  }
  return root;
}

/** One of these words; there must be one. */
export function oneWord(words: readonly string[]): string {
  return wordsFrom(treeOf(words));
}

function wordsFrom(node: Node): string {
  const ways = [...node.next].map(([character, next]) => wayFrom(character, next));
  const [only] = ways;
  if (node.isWord && ways.length === 0) return '""';
  if (ways.length === 1 && only !== undefined) return node.isWord ? `(${only})?` : only;
  return `(${ways.join(' | ')})${node.isWord ? '?' : ''}`;
}

/** As long a literal as there is only one way on. */
function wayFrom(first: string, begin: Node): string {
  let text = first;
  let node = begin;
  while (!node.isWord && node.next.size === 1) {
    for (const [character, next] of node.next) {
      text += character;
      node = next;
    }
  }
  return node.next.size === 0 ? literal(text) : `${literal(text)} ${wordsFrom(node)}`;
}

/** Text of plain characters that is none of these words. `rest` names a rule for any number of plain characters. */
export function noneOfWords(words: readonly string[], rest: string): string {
  return othersFrom(treeOf(words), rest);
}

function othersFrom(node: Node, rest: string): string {
  const ways = [...node.next].map(([character, next]) => `${literal(character)} ${othersFrom(next, rest)}`);
  const others = `${plainCharacter([...node.next.keys()])} ${rest}`;
  return `(${[...ways, others].join(' | ')})${node.isWord ? '' : '?'}`;
}
