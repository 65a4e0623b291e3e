/** Sets of characters (code points), as ranges in their order that do not touch. */
export type CharacterSet = readonly (readonly [first: number, last: number])[];

const LAST = 0x10ffff;

export const EVERY_CHARACTER: CharacterSet = [[0, LAST]];

/** What is in one of these. */
export function union(sets: readonly CharacterSet[]): CharacterSet {
  const joined: [number, number][] = [];
  for (const [first, last] of sets.flat().sort(([a], [b]) => a - b)) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else joined.push([first, last]);
  }
  return joined;
}

/** What is not in this one. */
export function complement(set: CharacterSet): CharacterSet {
  const between: [number, number][] = [];
  let next = 0;
  for (const [first, last] of set) {
    if (next < first) between.push([next, first - 1]);
    next = last + 1;
  }
  return next <= LAST ? [...between, [next, LAST]] : between;
}

/** What is in both. */
export function intersection(a: CharacterSet, b: CharacterSet): CharacterSet {
  return complement(union([complement(a), complement(b)]));
}

export function includes(set: CharacterSet, code: number): boolean {
  return set.some(([first, last]) => first <= code && code <= last);
}

/** The classes of characters that none of these sets tells apart. */
export function classesOf(sets: readonly CharacterSet[]): CharacterSet[] {
  const borders = new Set([0, ...sets.flat().flatMap(([first, last]) => [first, last + 1])]);
  const begins = [...borders].filter((code) => code <= LAST).sort((a, b) => a - b);
  const classes = new Map<string, [number, number][]>();
  for (const [index, first] of begins.entries()) {
    const last = (begins[index + 1] ?? LAST + 1) - 1;
    const kind = sets.map((set) => (includes(set, first) ? 1 : 0)).join('');
    classes.set(kind, [...(classes.get(kind) ?? []), [first, last]]);
  }
  return [...classes.values()].map((ranges) => union([ranges]));
}
