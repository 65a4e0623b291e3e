import { literal } from '../grammar/literals.js';
import { argumentsRule, either } from './call-rules.js';
import type { Output } from './output.js';
import { beginCall, jsonArguments, thought } from './passages.js';
import type { Reading, Source } from './source.js';
import type { Syntax } from './syntax.js';

/**
 * Messages with a header each: `<|channel|>analysis<|message|>` thoughts `<|end|>`, then `<|channel|>final` with the text, or
 * `<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>`. A call ends the answer.
 *
 * Source: "OpenAI harmony response format", cookbook.openai.com/articles/openai-harmony.
 */
export const HARMONY: Syntax = {
  name: 'harmony',
  marks: ['<|start|>', '<|channel|>', '<|message|>', '<|constrain|>', '<|end|>', '<|call|>', '<|return|>'],
  openThought: undefined,
  thoughtMarks: undefined,
  textRule: (_, text) => `${ANALYSIS} "<|channel|>final<|message|>" ${text}`,
  // one call ends the answer, so that there is no second one
  callRule(rules, tools) {
    const ways = tools.map(
      (tool) => `${literal(`${tool.name} <|constrain|>json<|message|>`)} ${argumentsRule(rules, tool)}`,
    );
    return `${ANALYSIS} "<|channel|>commentary to=functions." ${either(ways)}`;
  },
  restRule: (rules, tool, since) => (since.trim() === '' ? argumentsRule(rules, tool) : undefined),
  *read(source, output) {
    if (!(yield* hasHeader(source))) {
      yield* source.until(ENDS, (text) => output.text(text));
      return;
    }
    while (!output.over && (yield* source.peek()) !== undefined) yield* message(source, output);
  },
};

/** Thoughts before it, if the model likes. */
const ANALYSIS = '("<|channel|>analysis<|message|>" ([^<] | "<" [^|])* "<|end|><|start|>assistant")?';
const ENDS = ['<|end|>', '<|return|>', '<|call|>', '<|start|>'];
/** With what a header can go on behind `<|start|>assistant`, which is the prompt's end. */
const HEADERS = ['<|channel|>', '<|message|>', '<|start|>', 'to=functions.', 'assistant<|', 'assistant to='];
const RECIPIENT = /to=functions\.([\w.-]+)/u;
const CHANNEL = /<\|channel\|>\s*(\w+)/u;

/** An answer goes on in the header of its message, which the prompt began; one without a header is text. */
function* hasHeader(source: Source): Reading<boolean> {
  source.keep();
  yield* source.space();
  const begun = yield* source.oneOf(HEADERS);
  source.rewind();
  return begun !== undefined;
}

function* message(source: Source, output: Output): Reading {
  let header = '';
  const begun = yield* source.until(['<|message|>'], (text) => (header += text));
  if (begun === undefined) return;
  const tool = RECIPIENT.exec(header)?.[1];
  const channel = CHANNEL.exec(header)?.[1];
  if (tool !== undefined && output.offers(tool)) yield* call(source, output, tool);
  else if (channel === 'analysis') yield* analysis(source, output);
  else yield* shown(source, output);
}

function* analysis(source: Source, output: Output): Reading {
  output.enter('reasoning');
  yield* thought(source, output, ENDS);
  output.enter('text');
}

function* shown(source: Source, output: Output): Reading {
  let before = output.shown ? '\n\n' : '';
  yield* source.until(ENDS, (text) => {
    if (text === '') return;
    output.text(before + text);
    before = '';
  });
}

function* call(source: Source, output: Output, tool: string): Reading {
  output.named = { tool, at: source.place };
  source.keep();
  yield* source.space();
  if ((yield* source.peek()) !== '{') {
    source.rewind();
    output.named = undefined;
    return yield* shown(source, output);
  }
  beginCall(source, output, tool);
  if (yield* jsonArguments(source, output)) output.endCall();
  output.over = true;
}
