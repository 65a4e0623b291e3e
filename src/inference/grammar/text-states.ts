import { classesOf, intersection, union, type CharacterSet } from './character-set.js';
import { LanguageTooLarge, type Language, type Languages } from './languages.js';
import { PLAIN_CHARACTERS } from './literals.js';

/** A place in the reading of a text: what it may go on with, and whether it may end there. */
export interface TextState {
  mayEnd: boolean;
  /** By the state that they lead to. */
  ways: ReadonlyMap<number, CharacterSet>;
}

const MAX_STATES = 2_000;
/** Characters that JSON writes as a backslash and one more. */
export const SHORT_ESCAPES: readonly (readonly [code: number, letter: string])[] = [
  [0x22, '"'],
  [0x5c, '\\'],
  [0x0a, 'n'],
  [0x0d, 'r'],
  [0x09, 't'],
];
const WRITTEN = union([PLAIN_CHARACTERS, SHORT_ESCAPES.map(([code]) => [code, code] as const)]);

/** How the texts of a language are read, character by character, beginning with the first state; of characters that are
 *  written into JSON as they are or in two signs. No state: there is no such text.
 *  @throws LanguageTooLarge for too many states. */
export function textStates(language: Language, languages: Languages): TextState[] {
  const classes = classesOf(languages.sets)
    .map((set) => intersection(set, WRITTEN))
    .filter((set) => set.length > 0);
  const found = new Map([[language, 0]]);
  const ways: Map<number, CharacterSet[]>[] = [];
  for (const from of found.keys()) {
    // grows while it is walked through
    const out = new Map<number, CharacterSet[]>();
    for (const set of classes) {
      const to = languages.derivative(from, set[0]?.[0] ?? 0);
      if (to === languages.none) continue;
      const state = found.get(to) ?? found.size;
      if (state >= MAX_STATES) throw new LanguageTooLarge();
      found.set(to, state);
      out.set(state, [...(out.get(state) ?? []), set]);
    }
    ways.push(out);
  }
  const states = [...found.keys()].map(({ nullable }, index) => ({
    mayEnd: nullable,
    ways: new Map([...(ways[index] ?? [])].map(([to, sets]) => [to, union(sets)])),
  }));
  return withoutDeadEnds(states);
}

/** Without the states from which no text comes to an end, and numbered anew. */
function withoutDeadEnds(states: readonly TextState[]): TextState[] {
  const before = states.map((): number[] => []);
  for (const [from, { ways }] of states.entries()) for (const to of ways.keys()) before[to]?.push(from);
  const alive = new Set<number>();
  const todo = states.flatMap(({ mayEnd }, index) => (mayEnd ? [index] : []));
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (alive.has(next)) continue;
    alive.add(next);
    todo.push(...(before[next] ?? []));
  }
  if (!alive.has(0)) return [];
  const numbers = new Map([...alive].sort((a, b) => a - b).map((old, index) => [old, index]));
  return states
    .filter((_, index) => alive.has(index))
    .map(({ mayEnd, ways }) => ({
      mayEnd,
      ways: new Map([...ways].flatMap(([to, set]) => (numbers.has(to) ? [[numbers.get(to) ?? 0, set] as const] : []))),
    }));
}
