import type { ContentEvent } from '../types.js';

export type Mode = 'text' | 'reasoning' | 'call';

export interface OutputOptions {
  /** Names of the tools that may be called; what looks like a call of another is text. */
  tools: readonly string[];
  /** Whether the answer may hold several calls. */
  parallel: boolean;
  newCallId: () => string;
}

/** What a reader makes of an answer: events, and where in the answer it is. */
export class Output {
  readonly #options: OutputOptions;
  #events: ContentEvent[] = [];
  #mode: Mode = 'text';
  #calls = 0;
  /** The answer broke off: what is not whole stays so. */
  cut = false;
  /** Nothing that comes now belongs to the answer. */
  over = false;
  /** A call of which the name is known, and how many characters of the answer had been read by then. */
  named: { tool: string; at: number } | undefined;
  #shown = false;

  constructor(options: OutputOptions) {
    this.#options = options;
  }

  get mode(): Mode {
    return this.#mode;
  }

  get calls(): number {
    return this.#calls;
  }

  get offersTools(): boolean {
    return this.#options.tools.length > 0;
  }

  /** Some text was shown. */
  get shown(): boolean {
    return this.#shown;
  }

  offers(tool: string): boolean {
    return this.#options.tools.includes(tool);
  }

  enter(mode: 'text' | 'reasoning'): void {
    this.#mode = mode;
  }

  text(text: string): void {
    if (text === '') return;
    this.#shown = true;
    const last = this.#events.at(-1);
    if (last?.type === 'text') last.text += text;
    else this.#events.push({ type: 'text', text });
  }

  reasoning(text: string): void {
    const last = this.#events.at(-1);
    if (last?.type === 'reasoning') last.text += text;
    else if (text !== '') this.#events.push({ type: 'reasoning', text });
  }

  beginCall(name: string): void {
    this.#mode = 'call';
    this.#events.push({ type: 'tool_call', index: this.#calls, id: this.#options.newCallId(), name });
    this.#calls++;
  }

  callArguments(text: string): void {
    const last = this.#events.at(-1);
    if (last?.type === 'tool_arguments') last.text += text;
    else if (text !== '') this.#events.push({ type: 'tool_arguments', index: this.#calls - 1, text });
  }

  endCall(): void {
    this.#mode = 'text';
    this.named = undefined;
    if (!this.#options.parallel) this.over = true;
  }

  events(): ContentEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }
}
