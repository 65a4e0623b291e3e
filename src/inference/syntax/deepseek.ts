import { literal } from '../grammar/literals.js';
import type { GrammarRules } from '../grammar/rules.js';
import type { Tool } from '../types.js';
import { argumentsRule, either, literalRest, oneOrMore, SPACE } from './call-rules.js';
import type { Output } from './output.js';
import { beginCall, jsonArguments, openingThought, textAndCalls } from './passages.js';
import type { Reading, Source } from './source.js';
import type { Syntax } from './syntax.js';

/**
 * `<｜tool▁calls▁begin｜>`, then each call as `<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}<｜tool▁call▁end｜>` (V3.1), or with the
 * word `function` before the separator and name and fenced JSON behind it (V3, R1).
 *
 * Source: the model cards and chat templates of deepseek-ai/DeepSeek-R1 and DeepSeek-V3.1.
 */
function reading(name: string): Pick<Syntax, 'name' | 'marks' | 'openThought' | 'thoughtMarks' | 'read'> {
  return {
    name,
    marks: ['<think>', '</think>', ALL_BEGIN, ALL_END, BEGIN, END, SEPARATOR],
    openThought: /<think>\s*$/u,
    thoughtMarks: ['<think>', '</think>'],
    *read(source, output) {
      yield* openingThought(source, output, '<think>', '</think>');
      yield* textAndCalls(source, output, [ALL_BEGIN, BEGIN], (mark) => call(source, output, mark));
    },
  };
}

const ALL_BEGIN = '<｜tool▁calls▁begin｜>';
const ALL_END = '<｜tool▁calls▁end｜>';
const BEGIN = '<｜tool▁call▁begin｜>';
const END = '<｜tool▁call▁end｜>';
const SEPARATOR = '<｜tool▁sep｜>';

export const DEEPSEEK: Syntax = {
  ...reading('deepseek'),
  callRule: (rules, tools, parallel) => callsRule(rules, tools, parallel, (name) => `${name}${SEPARATOR}`, ''),
  restRule: (rules, tool, since) => (since.trim() === '' ? argumentsRule(rules, tool) : undefined),
};

/** V3 and R1: with the word `function`, and a fence around the arguments. */
export const DEEPSEEK_FENCED: Syntax = {
  ...reading('deepseek-fenced'),
  callRule: (rules, tools, parallel) =>
    callsRule(rules, tools, parallel, (name) => `function${SEPARATOR}${name}\n\`\`\`json\n`, '\n```'),
  restRule(rules, tool, since) {
    const fence = literalRest('```json', since);
    return fence && `${fence} ${SPACE} ${argumentsRule(rules, tool)}`;
  },
};

function callsRule(
  rules: GrammarRules,
  tools: readonly Tool[],
  parallel: boolean,
  before: (name: string) => string,
  after: string,
): string {
  const ways = tools.map((tool) => `${literal(before(tool.name))} ${argumentsRule(rules, tool)}`);
  const call = rules.add('call', `${literal(BEGIN)} ${either(ways)} ${literal(`${after}${END}`)}`);
  return `${literal(ALL_BEGIN)} ${oneOrMore(call, '', parallel)} ${literal(ALL_END)}`;
}

/** Longer is no name. */
const MAX_NAME_CHARACTERS = 256;

function* call(source: Source, output: Output, mark: string): Reading<boolean> {
  yield* source.space();
  if (mark !== BEGIN && !(yield* source.literal(BEGIN))) return false;
  let name = yield* line(source, SEPARATOR);
  const fenced = name === 'function';
  if (fenced) name = yield* line(source, '\n');
  if (name === undefined || !output.offers(name)) return false;
  output.named = { tool: name, at: source.place };
  yield* source.space();
  if (fenced && (yield* source.literal('```json'))) yield* source.space();
  if ((yield* source.peek()) !== '{') return false;
  beginCall(source, output, name);
  if (!(yield* jsonArguments(source, output))) return true;
  output.endCall();
  if (output.over) return true;
  yield* source.space();
  if (yield* source.literal('```')) yield* source.space();
  yield* source.literal(END);
  return true;
}

/** What stands before `end`. `undefined`: nothing that could be a name. */
function* line(source: Source, end: string): Reading<string | undefined> {
  let text = '';
  while (!(yield* source.literal(end))) {
    if ((yield* source.peek()) === undefined || text.length >= MAX_NAME_CHARACTERS) return undefined;
    text += source.take(1);
  }
  return text.trim();
}
