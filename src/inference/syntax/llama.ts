import { jsonCallRule, jsonRest, oneOrMore, SPACE } from './call-rules.js';
import type { Output } from './output.js';
import { jsonCalls, textAndCalls, type CallShape } from './passages.js';
import type { Reading, Source } from './source.js';
import type { Syntax } from './syntax.js';

const TAG = '<|python_tag|>';

/**
 * A call is a JSON object that begins the answer, or stands behind `<|python_tag|>`; several have `;` between them.
 *
 * Source: "Tool Calling (8B/70B/405B)" in the prompt formats of Llama 3.1 to 3.3, llama.com/docs.
 */
export const LLAMA: Syntax = {
  name: 'llama',
  marks: [TAG],
  openThought: undefined,
  thoughtMarks: undefined,
  callRule: (rules, tools, parallel) => oneOrMore(jsonCallRule(rules, tools, 'parameters'), `";" ${SPACE}`, parallel),
  restRule: (rules, tool, since) => jsonRest(rules, tool, 'parameters', since),
  *read(source, output) {
    if (yield* bareCalls(source, output, SHAPE)) return;
    yield* textAndCalls(source, output, [TAG], () => tagged(source, output));
  },
};

const SHAPE: CallShape = { argumentsKeys: ['parameters', 'arguments'], argumentsNeeded: true };

function* tagged(source: Source, output: Output): Reading<boolean> {
  yield* source.space();
  return yield* jsonCalls(source, output, SHAPE);
}

/** Calls with which the answer begins. What follows them is nothing. */
export function* bareCalls(source: Source, output: Output, shape: CallShape): Reading<boolean> {
  if (!output.offersTools) return false;
  source.keep();
  yield* source.space();
  const next = yield* source.peek();
  if ((next === '{' || next === '[') && (yield* jsonCalls(source, output, shape))) {
    source.release();
    yield* source.space();
    if ((yield* source.peek()) !== undefined) output.over = true;
    return true;
  }
  output.named = undefined;
  source.rewind();
  return false;
}
