import { literal } from '../grammar/literals.js';
import { argumentsRule, either, jsonCallRule, jsonRest, oneOrMore, SPACE } from './call-rules.js';
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
function reading(name: string): Pick<Syntax, 'name' | 'marks' | 'openThought' | 'thoughtMarks' | 'read'> {
  return {
    name,
    marks: ['[TOOL_CALLS]', '[ARGS]', '[CALL_ID]', '[THINK]', '[/THINK]'],
    openThought: /\[THINK\]\s*$/u,
    thoughtMarks: ['[THINK]', '[/THINK]'],
    *read(source, output) {
      yield* openingThought(source, output, '[THINK]', '[/THINK]');
      yield* textAndCalls(source, output, ['[TOOL_CALLS]'], () => calls(source, output));
    },
  };
}

/** Asked for a list. */
export const MISTRAL: Syntax = {
  ...reading('mistral'),
  callRule(rules, tools, parallel) {
    const call = jsonCallRule(rules, tools, 'arguments');
    return `"[TOOL_CALLS]" ${SPACE} "[" ${oneOrMore(call, `"," ${SPACE}`, parallel)} "]"`;
  },
  restRule: (rules, tool, since) => jsonRest(rules, tool, 'arguments', since),
};

/** Asked for names: `[TOOL_CALLS]NAME[ARGS]{…}`. */
export const MISTRAL_NAMED: Syntax = namedSyntax('mistral-named', '');
/** With `[CALL_ID]` and nine letters or digits before the arguments. */
export const MISTRAL_NUMBERED: Syntax = namedSyntax('mistral-numbered', '"[CALL_ID]" [a-zA-Z0-9]{9} ');

function namedSyntax(name: string, id: string): Syntax {
  return {
    ...reading(name),
    callRule(rules, tools, parallel) {
      const ways = tools.map(
        (tool) => `${literal(`[TOOL_CALLS]${tool.name}`)} ${id}"[ARGS]" ${argumentsRule(rules, tool)}`,
      );
      return oneOrMore(rules.add('call', either(ways)), '', parallel);
    },
    restRule: (rules, tool, since) => (since.trim() === '' ? argumentsRule(rules, tool) : undefined),
  };
}

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
  yield* source.space();
  if (yield* source.literal('[CALL_ID]')) {
    for (let char = yield* source.peek(); char !== undefined && /\w/u.test(char); char = yield* source.peek())
      source.take(1);
  }
  yield* source.literal('[ARGS]');
  output.named = { tool: name, at: source.place };
  yield* source.space();
  if ((yield* source.peek()) !== '{') return false;
  beginCall(source, output, name);
  if (yield* jsonArguments(source, output)) output.endCall();
  return true;
}
