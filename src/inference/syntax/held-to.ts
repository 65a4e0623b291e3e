import { DarkbloomError } from '../../errors.js';
import { answerGrammar } from '../grammar/answer-grammar.js';
import { literal } from '../grammar/literals.js';
import { GrammarRules } from '../grammar/rules.js';
import type { Prompt } from '../prompt.js';
import { offeredTools, type ChatRequest, type Tool } from '../types.js';
import { either, SPACE } from './call-rules.js';
import type { Syntax } from './syntax.js';

/** What of a request says how its answer must look. */
export type Wanted = Pick<ChatRequest, 'tools' | 'toolChoice' | 'parallelToolCalls' | 'format'>;

/**
 * The grammar of an answer, behind the thoughts that the prompt began; `undefined`: any. A call that is asked for is one; where
 * a format is asked for, calls of the tools that are offered remain possible beside it.
 *
 * @throws DarkbloomError `unprocessable` for a format that a grammar cannot say.
 */
export function heldTo(
  wanted: Wanted,
  syntax: Syntax,
  prompt: Pick<Prompt, 'begins' | 'mayThink'>,
): string | undefined {
  const { toolChoice, format } = wanted;
  const forced = toolChoice === 'required' || typeof toolChoice === 'object';
  if (!forced && format.type === 'text') return undefined;
  const thinks = prompt.begins === 'reasoning' || prompt.mayThink;
  const tools = typeof toolChoice === 'object' ? wanted.tools.filter(isNamed(toolChoice.name)) : offeredTools(wanted);
  if (tools.length === 0 && !thinks && syntax.textRule === undefined) return answerGrammar(format);
  const grammarOf = (callable: readonly Tool[]): string => {
    const rules = new GrammarRules();
    const calls = callable.length === 0 ? [] : [syntax.callRule(rules, callable, wanted.parallelToolCalls)];
    const text = forced || format.type === 'text' ? [] : [textOf(rules, format, syntax)];
    return withMarks(rules.text(`${beforeIt(syntax, prompt)} ${either([...text, ...calls])}`), syntax);
  };
  try {
    return grammarOf(tools);
  } catch (error) {
    if (!(error instanceof DarkbloomError) || tools.length === 0) throw error;
    // the schemas of all tools are too much for one grammar: it says no more than their names
    return grammarOf(tools.map(({ name }) => ({ name, parameters: { type: 'object' } })));
  }
}

/** The grammar of what is missing of a call, behind the name of its tool; `undefined`: it cannot be said. */
export function restOfCall(tool: Tool, since: string, syntax: Syntax): string | undefined {
  const rules = new GrammarRules();
  const rest = syntax.restRule(rules, tool, since);
  return rest && withMarks(rules.text(rest), syntax);
}

/** Control tokens are written only where the grammar names them: marks with an escape in them are named in a comment. */
function withMarks(grammar: string, { marks }: Syntax): string {
  const escaped = marks.filter((mark) => !grammar.includes(mark) && grammar.includes(literal(mark).slice(1, -1)));
  return escaped.length === 0 ? grammar : `${grammar}# ${escaped.join(' ')}\n`;
}

function isNamed(name: string): (tool: Tool) => boolean {
  return (tool) => tool.name === name;
}

function textOf(rules: GrammarRules, format: Exclude<Wanted['format'], { type: 'text' }>, syntax: Syntax): string {
  const schema = format.type === 'json' ? { type: 'object' } : format.schema;
  const text = rules.schema(schema, 'response_format');
  return syntax.textRule?.(rules, text) ?? text;
}

function beforeIt({ thoughtMarks }: Syntax, { begins, mayThink }: Pick<Prompt, 'begins' | 'mayThink'>): string {
  if (begins === 'reasoning') return SPACE;
  if (!mayThink || thoughtMarks === undefined) return '';
  const [open, close] = thoughtMarks;
  const [first = '', second = ''] = close;
  const thought = `([^${classOf(first)}] | ${literal(first)} [^${classOf(second)}])*`;
  return `(${literal(open)} ${thought} ${literal(close)} ${SPACE})?`;
}

/** A character inside of brackets. */
function classOf(character: string): string {
  return /[[\]\\^-]/u.test(character) ? `\\${character}` : character;
}
