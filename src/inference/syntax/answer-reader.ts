import type { ContentEvent, Tool } from '../types.js';
import { Output, type Mode } from './output.js';
import { Source, type Reading } from './source.js';
import type { Syntax } from './syntax.js';

export interface ReaderOptions {
  /** Those that may be called. */
  tools: readonly Tool[];
  parallel: boolean;
  /** With what the answer begins. */
  begins: 'text' | 'reasoning';
  newCallId: () => string;
}

/** Splits one answer into text, thoughts and calls while it comes. However it falls into pieces, the events say the same. */
export class AnswerReader {
  readonly #source = new Source();
  readonly #output: Output;
  readonly #reading: Reading;
  #ended = false;

  constructor(syntax: Syntax, { tools, parallel, begins, newCallId }: ReaderOptions) {
    this.#output = new Output({ tools: tools.map(({ name }) => name), parallel, newCallId });
    this.#output.enter(begins);
    this.#reading = syntax.read(this.#source, this.#output, tools);
    this.#go();
  }

  /** Where in the answer it is. */
  get mode(): Mode {
    return this.#output.mode;
  }

  /** Calls that have begun. */
  get calls(): number {
    return this.#output.calls;
  }

  /** The answer has ended by its own syntax: what follows is not part of it. */
  get over(): boolean {
    return this.#output.over;
  }

  /** The tool of a call that has been named and is not at its end, and what came behind the name with the last piece. */
  get named(): { tool: string; since: string } | undefined {
    const { named } = this.#output;
    return named && { tool: named.tool, since: this.#source.since(named.at) };
  }

  push(piece: string): ContentEvent[] {
    if (this.over) return [];
    this.#source.push(piece);
    this.#go();
    return this.#output.events();
  }

  /** The end of the answer. `cut`: the model was not done. */
  flush(cut: boolean): ContentEvent[] {
    if (this.#ended) return [];
    this.#ended = true;
    this.#output.cut = cut;
    this.#source.end();
    if (!this.over) this.#go();
    return this.#output.events();
  }

  /** A reader that is done although text comes on leaves nothing of it. */
  #go(): void {
    if (this.#reading.next().done !== true) return;
    if (this.#source.left !== '') this.#output.over = true;
  }
}
