import type { Output } from './output.js';
import { literal } from '../grammar/literals.js';
import { either, oneOrMore } from './call-rules.js';
import { gemmaArguments } from './gemma-rules.js';
import { bareCalls, LLAMA } from './llama.js';
import { beginCall, jsonCalls, openingThought, textAndCalls, type CallShape } from './passages.js';
import type { Reading, Source } from './source.js';
import type { Syntax } from './syntax.js';

/** How calls are set off, and the mark around strings. */
interface Notation {
  open: string;
  close: string;
  quote: string;
}

const GEMMA4_NOTATION: Notation = { open: '<|tool_call>', close: '<tool_call|>', quote: '<|"|>' };
const FUNCTION_GEMMA_NOTATION: Notation = {
  open: '<start_function_call>',
  close: '<end_function_call>',
  quote: '<escape>',
};

/**
 * `<|channel>thought` … `<channel|>`, then text and calls as `<|tool_call>call:NAME{key:<|"|>text<|"|>,n:3}<tool_call|>`.
 *
 * Source: "Function calling with Gemma 4" and "Thinking", ai.google.dev/gemma/docs; the chat template of
 * google/gemma-4-31B-it.
 */
export const GEMMA4: Syntax = {
  name: 'gemma4',
  marks: ['<|channel>', '<channel|>', '<|tool_response>', ...marksOf(GEMMA4_NOTATION)],
  openThought: /<\|channel>thought\s*$/u,
  thoughtMarks: ['<|channel>thought', '<channel|>'],
  ...rulesOf(GEMMA4_NOTATION),
  *read(source, output) {
    yield* openingThought(source, output, '<|channel>thought', '<channel|>');
    yield* textAndCalls(source, output, [GEMMA4_NOTATION.open], () => call(source, output, GEMMA4_NOTATION));
  },
};

/**
 * Calls as `<start_function_call>call:NAME{key:<escape>text<escape>}<end_function_call>`.
 *
 * Source: "FunctionGemma formatting and best practices", ai.google.dev/gemma/docs/functiongemma.
 */
export const FUNCTION_GEMMA: Syntax = {
  name: 'functiongemma',
  marks: ['<start_function_response>', ...marksOf(FUNCTION_GEMMA_NOTATION)],
  openThought: undefined,
  thoughtMarks: undefined,
  ...rulesOf(FUNCTION_GEMMA_NOTATION),
  *read(source, output) {
    yield* textAndCalls(source, output, [FUNCTION_GEMMA_NOTATION.open], () =>
      call(source, output, FUNCTION_GEMMA_NOTATION),
    );
  },
};

/**
 * Gemma 3 was trained for no syntax of its own: the prompt asks for `{"name": …, "parameters": …}` and nothing else, bare or
 * in a fence of code.
 *
 * Source: "Function calling with Gemma", ai.google.dev/gemma/docs/capabilities/function-calling.
 */
export const GEMMA3: Syntax = {
  name: 'gemma3',
  marks: [],
  openThought: undefined,
  thoughtMarks: undefined,
  callRule: (rules, tools, parallel) => LLAMA.callRule(rules, tools, parallel),
  restRule: (rules, tool, since) => LLAMA.restRule(rules, tool, since),
  *read(source, output) {
    if (yield* bareCalls(source, output, GEMMA3_SHAPE)) return;
    yield* textAndCalls(source, output, FENCES, () => fenced(source, output));
  },
};

const GEMMA3_SHAPE: CallShape = { argumentsKeys: ['parameters', 'arguments'], argumentsNeeded: true };
const FENCES = ['```json\n', '```tool_code\n', '```tool_call\n'];

function* fenced(source: Source, output: Output): Reading<boolean> {
  yield* source.space();
  if (!(yield* jsonCalls(source, output, GEMMA3_SHAPE))) return false;
  if (output.over) return true;
  yield* source.space();
  yield* source.literal('```');
  return true;
}

function rulesOf(notation: Notation): Pick<Syntax, 'callRule' | 'restRule'> {
  return {
    callRule(rules, tools, parallel) {
      const ways = tools.map((tool) => `${literal(tool.name)} ${gemmaArguments(rules, tool, notation.quote)}`);
      const call = rules.add('call', `${literal(`${notation.open}call:`)} ${either(ways)} ${literal(notation.close)}`);
      return oneOrMore(call, '', parallel);
    },
    restRule: (rules, tool, since) => (since === '{' ? gemmaArguments(rules, tool, notation.quote, since) : undefined),
  };
}

function marksOf({ open, close, quote }: Notation): string[] {
  return [open, close, quote];
}

const NAME_CHARACTER = /[\w.-]/u;
/** Objects and lists in one another; what is deeper is no call. */
const MAX_DEPTH = 64;

function* call(source: Source, output: Output, notation: Notation): Reading<boolean> {
  yield* source.space();
  if (!(yield* source.literal('call:'))) return false;
  let name = '';
  for (let char = yield* source.peek(); char !== undefined && NAME_CHARACTER.test(char); char = yield* source.peek()) {
    name += source.take(1);
  }
  if (!output.offers(name)) return false;
  output.named = { tool: name, at: source.place };
  if ((yield* source.peek()) !== '{') return false;
  beginCall(source, output, name);
  const whole = yield* value(source, output, notation, 0);
  output.endCall();
  if (!whole || output.over) return true;
  yield* source.space();
  yield* source.literal(notation.close);
  return true;
}

/** One value, told as JSON. False: the text ended or did not fit; what was told is whole, unless the answer broke off. */
function* value(source: Source, output: Output, notation: Notation, depth: number): Reading<boolean> {
  yield* source.space();
  if (yield* source.literal(notation.quote)) return yield* quoted(source, output, notation);
  const next = yield* source.peek();
  if ((next === '{' || next === '[') && depth < MAX_DEPTH) {
    source.take(1);
    return yield* members(source, output, notation, depth, next === '{');
  }
  return yield* scalar(source, output);
}

function* members(source: Source, output: Output, notation: Notation, depth: number, keyed: boolean): Reading<boolean> {
  const close = keyed ? '}' : ']';
  output.callArguments(keyed ? '{' : '[');
  let whole = true;
  for (let before = ''; whole; before = ',') {
    yield* source.space();
    if (yield* source.literal(close)) {
      output.callArguments(close);
      return true;
    }
    if (before !== '' && !(yield* source.literal(','))) break;
    yield* source.space();
    if (before !== '' && (yield* source.literal(close))) {
      output.callArguments(close);
      return true;
    }
    if (keyed) {
      const key = yield* keyOf(source, notation);
      if (key === undefined) break;
      output.callArguments(`${before}${JSON.stringify(key)}:`);
    } else {
      if ((yield* source.peek()) === undefined) break;
      output.callArguments(before);
    }
    whole = yield* value(source, output, notation, depth + 1);
  }
  if (!brokeOff(yield* source.peek(), output)) output.callArguments(close);
  return false;
}

/** A bare key, or one in quotes; with its colon. */
function* keyOf(source: Source, { quote }: Notation): Reading<string | undefined> {
  let key = '';
  if (yield* source.literal(quote)) {
    const end = yield* source.until([quote], (text) => (key += text));
    yield* source.space();
    return end !== undefined && (yield* source.literal(':')) ? key : undefined;
  }
  const end = yield* source.until([':'], (text) => (key += text));
  return end !== undefined && !/[{}[\],]/u.test(key) ? key.trim() : undefined;
}

function* quoted(source: Source, output: Output, { quote }: Notation): Reading<boolean> {
  output.callArguments('"');
  let held = '';
  const end = yield* source.until([quote], (text) => {
    const all = held + text;
    held = /[\uD800-\uDBFF]$/u.test(all) ? all.slice(-1) : ''; // half a character could not be written as JSON
    output.callArguments(JSON.stringify(held === '' ? all : all.slice(0, -1)).slice(1, -1));
  });
  if (end !== undefined || !output.cut) output.callArguments('"');
  return end !== undefined;
}

/** A number or a word, up to what cannot be part of it; what JSON does not know is told as text. */
function* scalar(source: Source, output: Output): Reading<boolean> {
  let text = '';
  for (let char = yield* source.peek(); char !== undefined && !/[{}[\],]/u.test(char); char = yield* source.peek()) {
    text += source.take(1);
  }
  const word = text.trim();
  const ended = (yield* source.peek()) === undefined;
  if (ended && output.cut) return false;
  output.callArguments(isScalar(word) ? word : JSON.stringify(word));
  return !ended;
}

function isScalar(word: string): boolean {
  return /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/u.test(word);
}

function brokeOff(next: string | undefined, { cut }: Output): boolean {
  return next === undefined && cut;
}
