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
export const DEEPSEEK: Syntax = {
  name: 'deepseek',
  marks: [
    '<think>',
    '</think>',
    '<｜tool▁calls▁begin｜>',
    '<｜tool▁calls▁end｜>',
    '<｜tool▁call▁begin｜>',
    '<｜tool▁call▁end｜>',
    '<｜tool▁sep｜>',
  ],
  openThought: /<think>\s*$/u,
  *read(source, output) {
    yield* openingThought(source, output, '<think>', '</think>');
    yield* textAndCalls(source, output, ['<｜tool▁calls▁begin｜>', BEGIN], (mark) => call(source, output, mark));
  },
};

const BEGIN = '<｜tool▁call▁begin｜>';
const SEPARATOR = '<｜tool▁sep｜>';
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
  yield* source.literal('<｜tool▁call▁end｜>');
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
