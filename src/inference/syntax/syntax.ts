import type { GrammarRules } from '../grammar/rules.js';
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
  /** What thoughts stand between, at the beginning of an answer; absent: elsewhere, or nowhere. */
  readonly thoughtMarks: readonly [open: string, close: string] | undefined;
  /** GBNF of an answer whose text is this; absent: just that. */
  textRule?(rules: GrammarRules, text: string): string;
  /** GBNF of one or more calls of these tools. */
  callRule(rules: GrammarRules, tools: readonly Tool[], parallel: boolean): string;
  /** GBNF of what is missing of a call behind the name of its tool, when `since` has come there. `undefined`: too much has. */
  restRule(rules: GrammarRules, tool: Tool, since: string): string | undefined;
  /** Reads one answer. */
  read(source: Source, output: Output, tools: readonly Tool[]): Reading;
}
