import { isDeepStrictEqual } from 'node:util';
import { refused, refusedKeyword } from './keywords.js';
import type { Exclusive } from './schema-reader.js';
import type { Definition, ObjectShape, Shape } from './shape.js';

/** What can be begun at one place. */
const MAX_ALTERNATIVES = 256;
/** Ways of reading the same text at once: the time for a token grows with them. */
const MAX_WAYS = 64;

/** Steps of one look for differences: shapes that refer to each other could be followed for ever. */
const MAX_LOOKS = 20_000;

/** Any shape but an alternative or a name. */
type Plain = Exclude<Shape, Definition | { type: 'either' }>;

/** @throws DarkbloomError `unprocessable` for what could not be written to an end, or only at great cost. */
export function checkShape(shape: Shape, exclusives: readonly Exclusive[], path: string): void {
  const all = shapesWithin(shape);
  for (const each of all) if (each.type === 'either') alternativesOf(each, path);
  const endless = firstEndless(all);
  if (endless !== undefined)
    throw refused(endless.type === 'definition' ? endless.path : path, 'allows no finite value');
  for (const { path: at, shapes } of exclusives) checkExclusive(shapes, at);
  if (waysIn(shape, new Map()) > MAX_WAYS)
    throw refused(
      path,
      `has more than ${MAX_WAYS} alternatives that begin alike; put a property that tells them apart first`,
    );
}

function shapesWithin(shape: Shape): Shape[] {
  const all = new Set<Shape>();
  const todo = [shape];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (all.has(next)) continue;
    all.add(next);
    todo.push(...partsOf(next));
  }
  return [...all];
}

function partsOf(shape: Shape): readonly Shape[] {
  switch (shape.type) {
    case 'array':
      return [...shape.first, ...(shape.rest === undefined ? [] : [shape.rest])];
    case 'object':
      return [...shape.members.map((member) => member.shape), ...(shape.rest === undefined ? [] : [shape.rest])];
    case 'either':
      return shape.shapes;
    case 'definition':
      return [shape.shape];
    default:
      return [];
  }
}

/** What stands behind alternatives and names.
 *  @throws DarkbloomError for a name that stands for itself, and for too many. */
function alternativesOf(shape: Shape, path: string): Plain[] {
  const found: Plain[] = [];
  let looks = 0;
  const collect = (each: Shape, within: readonly Shape[]) => {
    looks++;
    if (found.length >= MAX_ALTERNATIVES || looks > MAX_LOOKS)
      throw refused(path, `has more than ${MAX_ALTERNATIVES} alternatives`);
    if (within.includes(each)) throw refused(each.type === 'definition' ? each.path : path, 'leads back to itself');
    if (each.type === 'either' || each.type === 'definition') {
      for (const part of partsOf(each)) collect(part, [...within, each]);
      return;
    }
    found.push(each);
  };
  collect(shape, []);
  return found;
}

/** A shape that no value of finite length has. */
function firstEndless(all: readonly Shape[]): Shape | undefined {
  const finite = new Set<Shape>();
  const isFinite = (shape: Shape): boolean => {
    switch (shape.type) {
      case 'object':
        return shape.members.every((member) => finite.has(member.shape) || !member.required);
      case 'array':
        return (
          shape.first.slice(0, shape.min).every((each) => finite.has(each)) &&
          (shape.min <= shape.first.length || (shape.rest !== undefined && finite.has(shape.rest)))
        );
      case 'either':
        return shape.shapes.some((each) => finite.has(each));
      case 'definition':
        return finite.has(shape.shape);
      default:
        return true;
    }
  };
  for (let before = -1; before < finite.size;) {
    before = finite.size;
    for (const shape of all) if (isFinite(shape)) finite.add(shape);
  }
  return all.find((shape) => !finite.has(shape));
}

/** Of `oneOf` no value may fit two branches: a grammar cannot look back. */
function checkExclusive(shapes: readonly Shape[], path: string): void {
  const branches = shapes.map((shape) => alternativesOf(shape, path));
  const looks = { left: MAX_LOOKS };
  for (const [index, branch] of branches.entries())
    for (const other of branches.slice(index + 1))
      if (!branch.every((a) => other.every((b) => areApart(a, b, looks))))
        throw refusedKeyword(path, 'oneOf', 'has branches that may both fit; use anyOf');
}

/** How many more comparisons there may be. */
interface Looks {
  left: number;
}

/** Whether surely no value that is written for one fits the other. */
function areApart(a: Plain, b: Plain, looks: Looks): boolean {
  if (looks.left-- <= 0) return false;
  if (a.type === 'any' || b.type === 'any') return false;
  if (a.type === 'values' && b.type === 'values')
    return !a.values.some((value) => b.values.some((other) => isDeepStrictEqual(value, other)));
  const starts = startsOf(b);
  if (!startsOf(a).some((start) => starts.includes(start))) return true;
  if (a.type === 'object' && b.type === 'object') return objectsApart(a, b, looks);
  if (isNumeric(a) && isNumeric(b))
    return a.max !== undefined && b.min !== undefined ? rangesApart(a, b) : rangesApart(b, a);
  return false;
}

type Numeric = Extract<Shape, { type: 'integer' | 'number' }>;

function isNumeric(shape: Plain): shape is Numeric {
  return shape.type === 'integer' || shape.type === 'number';
}

function rangesApart(low: Numeric, high: Numeric): boolean {
  const [max, min] = [low.max, high.min].map((bound) => (typeof bound === 'object' ? bound.value : bound));
  return max !== undefined && min !== undefined && max < min;
}

function objectsApart(a: ObjectShape, b: ObjectShape, looks: Looks): boolean {
  const lacks = (one: ObjectShape, other: ObjectShape) =>
    one.rest === undefined &&
    other.members.some(({ name, required }) => required && !one.members.some((member) => member.name === name));
  if (lacks(a, b) && lacks(b, a)) return true;
  return a.members.some(({ name, required, shape }) => {
    const other = b.members.find((member) => member.name === name);
    if (other === undefined || !required || !other.required || looks.left <= 0) return false;
    const others = alternativesOf(other.shape, name);
    return alternativesOf(shape, name).every((one) => others.every((each) => areApart(one, each, looks)));
  });
}

/** The characters that a value of this shape may begin with, one for each kind. */
function startsOf(shape: Plain): string[] {
  switch (shape.type) {
    case 'any':
      return ['{', '[', '"', '0', 't', 'n'];
    case 'object':
      return ['{'];
    case 'array':
      return ['['];
    case 'string':
    case 'text':
      return ['"'];
    case 'boolean':
      return ['t'];
    case 'null':
      return ['n'];
    case 'integer':
    case 'number':
      return ['0'];
    case 'values':
      return [...new Set(shape.values.map((value) => kindOf(JSON.stringify(value))))];
  }
}

function kindOf(text: string): string {
  const [first = ''] = text;
  return first === 'f' ? 't' : first === '-' || (first >= '0' && first <= '9') ? '0' : first;
}

/** How many ways of reading what was written there may be at once; `Infinity`: ever more. */
function waysIn(shape: Shape, known: Map<Shape, number>): number {
  const before = known.get(shape);
  if (before !== undefined) return before;
  known.set(shape, 1); // one within itself: whether it grows there is asked where the ways begin
  const ways =
    shape.type === 'either'
      ? waysOfAlternatives(shape, known)
      : Math.max(1, ...partsOf(shape).map((part) => waysIn(part, known)));
  known.set(shape, ways);
  return ways;
}

function waysOfAlternatives(shape: Shape, known: Map<Shape, number>): number {
  const plain = alternativesOf(shape, '');
  const byStart = new Map<string, Plain[]>();
  for (const each of plain)
    for (const start of startsOf(each)) byStart.set(start, [...(byStart.get(start) ?? []), each]);
  const ways = [...byStart.values()].map((alike) => {
    const inside = alike.map((each) => waysIn(each, known));
    if (alike.length === 1) return inside[0] ?? 1;
    if (partSoon(alike)) return Math.max(alike.length, ...inside);
    if (alike.some((each) => leadsTo(each, shape))) return Infinity;
    return inside.reduce((sum, each) => sum + each, 0);
  });
  return Math.max(1, ...ways);
}

function leadsTo(from: Shape, to: Shape): boolean {
  return partsOf(from).some((part) => shapesWithin(part).includes(to));
}

/** Objects that differ before anything nested has been written. */
function partSoon(shapes: readonly Plain[]): boolean {
  return shapes.every((a, index) =>
    shapes.slice(index + 1).every((b) => a.type === 'object' && b.type === 'object' && differSoon(a, b)),
  );
}

function differSoon(a: ObjectShape, b: ObjectShape): boolean {
  for (const [index, one] of a.members.entries()) {
    const other = b.members[index];
    if (other === undefined || !one.required || !other.required) return false;
    if (one.name !== other.name) return true;
    const shapes = [...alternativesOf(one.shape, ''), ...alternativesOf(other.shape, '')];
    if (shapes.some((shape) => shape.type === 'any' || shape.type === 'object' || shape.type === 'array')) return false;
    const [first, second] = [one.shape, other.shape];
    if (first.type === 'values' && second.type === 'values' && areApart(first, second, { left: 1 })) return true;
  }
  return false;
}
