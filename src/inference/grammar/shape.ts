import type { Bound } from './number-ranges.js';
import type { TextState } from './text-states.js';

/** What a schema allows, in the words of a grammar. */
export type Shape =
  | { type: 'any' | 'null' | 'boolean' }
  | { type: 'values'; values: readonly unknown[] }
  | { type: 'string'; min: number; max: number | undefined }
  | TextShape
  | { type: 'integer'; min: number | undefined; max: number | undefined }
  | { type: 'number'; min: Bound | undefined; max: Bound | undefined }
  | ArrayShape
  | ObjectShape
  /** One of these; of none: nothing at all. */
  | { type: 'either'; shapes: readonly Shape[] }
  /** What other places refer to, also itself. */
  | Definition;

/** A string with a pattern or a format. */
export interface TextShape {
  type: 'text';
  /** The same for the same texts. */
  name: string;
  states: readonly TextState[];
}

export interface ArrayShape {
  type: 'array';
  first: readonly Shape[];
  /** `undefined`: nothing comes after `first`. */
  rest: Shape | undefined;
  min: number;
  max: number | undefined;
}

export interface ObjectShape {
  type: 'object';
  /** In the order in which they are written. */
  members: readonly Member[];
  /** Of members of any other name; `undefined`: there are none. */
  rest: Shape | undefined;
}

export interface Member {
  name: string;
  shape: Shape;
  required: boolean;
}

export interface Definition {
  type: 'definition';
  /** Where it stands in the request. */
  path: string;
  shape: Shape;
}

export const NOTHING: Shape = { type: 'either', shapes: [] };
