import type { Tool } from '../types.js';
import type { Output } from './output.js';
import type { Reading, Source } from './source.js';

/** How a family of models writes thoughts and calls. */
export interface Syntax {
  readonly name: string;
  /** Control tokens that mean something in an answer: its reader must see them, though they are no text. */
  readonly marks: readonly string[];
  /** What the prompt ends with when the answer begins with thoughts. */
  readonly openThought: RegExp | undefined;
  /** Reads one answer. */
  read(source: Source, output: Output, tools: readonly Tool[]): Reading;
}
