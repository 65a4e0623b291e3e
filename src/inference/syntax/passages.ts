import { JsonText } from './json-text.js';
import type { Output } from './output.js';
import type { Reading, Source } from './source.js';

/** What the answers of several families are made of. */

/** Thoughts at the beginning of an answer, between two marks, without the white space around them. */
export function* openingThought(source: Source, output: Output, open: string, close: string): Reading {
  if (output.mode !== 'reasoning') {
    source.keep();
    yield* source.space();
    if (!(yield* source.literal(open))) return source.rewind();
    source.release();
    output.enter('reasoning');
  }
  yield* thought(source, output, [close]);
  output.enter('text');
  yield* source.space();
}

/** Thoughts up to one of these marks. */
export function* thought(source: Source, output: Output, closes: readonly string[]): Reading<string | undefined> {
  yield* source.space();
  let space = '';
  return yield* source.until(closes, (text) => {
    const all = space + text;
    const shown = all.trimEnd();
    space = all.slice(shown.length);
    output.reasoning(shown);
  });
}

/**
 * Text, and calls that begin with one of these marks. `call` reads what comes behind a mark and says whether it was one:
 * what only looks like one is text. White space around calls is nobody's; behind calls come more of them or nothing.
 */
export function* textAndCalls(
  source: Source,
  output: Output,
  marks: readonly string[],
  call: (mark: string) => Reading<boolean>,
): Reading {
  if (!output.offersTools) {
    yield* source.until([], (text) => output.text(text));
    return;
  }
  for (;;) {
    let space = '';
    const mark = yield* source.until(marks, (text) => {
      const all = space + text;
      const shown = all.trimEnd();
      space = all.slice(shown.length);
      output.text(shown);
    });
    if (mark === undefined) return output.text(space);
    source.keep();
    if (yield* call(mark)) {
      source.release();
      return yield* moreCalls(source, output, marks, call);
    }
    source.rewind();
    output.named = undefined;
    output.text(space + mark);
  }
}

function* moreCalls(
  source: Source,
  output: Output,
  marks: readonly string[],
  call: (mark: string) => Reading<boolean>,
): Reading {
  while (!output.over) {
    yield* source.space();
    const mark = yield* source.oneOf(marks);
    if (mark === undefined || !(yield* call(mark))) break;
  }
  if ((yield* source.peek()) !== undefined) output.over = true;
}

/** Which keys a call has as a JSON object, and what it takes to be one. */
export interface CallShape {
  argumentsKeys: readonly string[];
  /** Without its arguments it is no call. */
  argumentsNeeded: boolean;
}

/** From here on it is a call, whatever follows. */
export function beginCall(source: Source, output: Output, name: string): void {
  source.release();
  output.beginCall(name);
}

/** A call as a JSON object. False: it is none. */
export function* jsonCall(source: Source, output: Output, shape: CallShape): Reading<boolean> {
  if (!(yield* source.literal('{'))) return false;
  let name: string | undefined;
  let given: string | undefined;
  let begun = false;
  const end = () => {
    if (begun) output.endCall();
    return begun;
  };
  for (;;) {
    yield* source.space();
    if (yield* source.literal('}')) break;
    const key = yield* jsonString(source);
    yield* source.space();
    if (key === undefined || !(yield* source.literal(':'))) return end();
    yield* source.space();
    if (key === 'name' && name === undefined) {
      name = yield* jsonString(source);
      if (name === undefined || !output.offers(name)) return false;
      output.named = { tool: name, at: source.place };
    } else if (shape.argumentsKeys.includes(key) && !begun && given === undefined) {
      const next = yield* source.peek();
      if (next === '{' && name !== undefined) {
        beginCall(source, output, name);
        begun = true;
        if (!(yield* jsonArguments(source, output))) return true;
      } else {
        given = argumentsIn(yield* jsonValue(source));
        if (given === undefined) return false;
      }
    } else if ((yield* jsonValue(source)) === undefined) {
      return end();
    }
    yield* source.space();
    if (!(yield* source.literal(','))) {
      if (yield* source.literal('}')) break;
      return end();
    }
  }
  if (begun) return end();
  if (name === undefined || (given === undefined && shape.argumentsNeeded)) return false;
  beginCall(source, output, name);
  output.callArguments(given ?? '{}');
  output.endCall();
  return true;
}

/** An object of arguments, told as it comes. False: the text broke off or was no JSON; what was told is made whole, and
 *  the call is at its end. */
export function* jsonArguments(source: Source, output: Output): Reading<boolean> {
  const json = new JsonText();
  while (!json.whole) {
    const char = yield* source.peek();
    const told = char === undefined ? undefined : json.take(char);
    if (told === undefined) {
      if (char !== undefined || !output.cut) output.callArguments(json.complete());
      output.endCall();
      return false;
    }
    source.take(1);
    output.callArguments(told);
  }
  return true;
}

/** Arguments that came before the name or as a string; `undefined`: they are no object. */
function argumentsIn(value: string | undefined): string | undefined {
  if (value === undefined || value === 'null') return value && '{}';
  if (value.startsWith('{')) return value;
  const text: unknown = JSON.parse(value);
  return typeof text === 'string' && isObject(text) ? text : undefined;
}

function isObject(text: string): boolean {
  try {
    JSON.parse(text);
    return text.trimStart().startsWith('{');
  } catch {
    return false;
  }
}

/** The text of a JSON value. `undefined`: what comes is none. */
export function* jsonValue(source: Source): Reading<string | undefined> {
  const json = new JsonText();
  let text = '';
  while (!json.whole) {
    const char = yield* source.peek();
    const told = char === undefined ? undefined : json.take(char);
    if (told === undefined) return json.mayEnd ? text + json.complete() : undefined;
    source.take(1);
    text += told;
  }
  return text;
}

function* jsonString(source: Source): Reading<string | undefined> {
  if ((yield* source.peek()) !== '"') return undefined;
  const text = yield* jsonValue(source);
  return text === undefined ? undefined : (JSON.parse(text) as string);
}

/** Calls as JSON: one object, several with `;` between them, or a list. */
export function* jsonCalls(source: Source, output: Output, shape: CallShape): Reading<boolean> {
  const list = yield* source.literal('[');
  let any = false;
  do {
    yield* source.space();
    if (!(yield* jsonCall(source, output, shape))) return any;
    any = true;
    if (output.over) return true;
    yield* source.space();
  } while (yield* source.literal(list ? ',' : ';'));
  if (list) yield* source.literal(']');
  return true;
}
