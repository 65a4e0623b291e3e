import type { Output } from './output.js';
import { beginCall, jsonArguments, jsonCalls, openingThought, textAndCalls, type CallShape } from './passages.js';
import type { Reading, Source } from './source.js';
import type { Syntax } from './syntax.js';

/**
 * `[TOOL_CALLS]` and a list of calls in JSON (tokenizers v3 to v7), or `[TOOL_CALLS]NAME[ARGS]{…}` for each call, in v11 with
 * `[CALL_ID]…` before the arguments. Thoughts stand between `[THINK]` and `[/THINK]` (v13).
 *
 * Sources: docs.mistral.ai "Tokenization"; the chat templates of mistralai/Mistral-Nemo-Instruct-2407,
 * Mistral-Small-3.2-24B-Instruct-2506 and Ministral-3-14B-Reasoning-2512.
 */
export const MISTRAL: Syntax = {
  name: 'mistral',
  marks: ['[TOOL_CALLS]', '[ARGS]', '[CALL_ID]', '[THINK]', '[/THINK]'],
  openThought: /\[THINK\]\s*$/u,
  *read(source, output) {
    yield* openingThought(source, output, '[THINK]', '[/THINK]');
    yield* textAndCalls(source, output, ['[TOOL_CALLS]'], () => calls(source, output));
  },
};

const SHAPE: CallShape = { argumentsKeys: ['arguments', 'parameters'], argumentsNeeded: false };
const NAME_CHARACTER = /[\w.-]/u;

function* calls(source: Source, output: Output): Reading<boolean> {
  yield* source.space();
  const next = yield* source.peek();
  return next === '[' || next === '{' ? yield* jsonCalls(source, output, SHAPE) : yield* namedCall(source, output);
}

function* namedCall(source: Source, output: Output): Reading<boolean> {
  let name = '';
  for (let char = yield* source.peek(); char !== undefined && NAME_CHARACTER.test(char); char = yield* source.peek()) {
    name += source.take(1);
  }
  if (!output.offers(name)) return false;
  output.named = { tool: name, at: source.place };
  yield* source.space();
  if (yield* source.literal('[CALL_ID]')) {
    for (let char = yield* source.peek(); char !== undefined && /\w/u.test(char); char = yield* source.peek())
      source.take(1);
  }
  yield* source.literal('[ARGS]');
  yield* source.space();
  if ((yield* source.peek()) !== '{') return false;
  beginCall(source, output, name);
  if (yield* jsonArguments(source, output)) output.endCall();
  return true;
}
