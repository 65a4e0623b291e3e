import type { AnswerFormat } from '../types.js';
import { GrammarRules } from './rules.js';

/** The grammar of an answer's text; `undefined`: any text.
 *  @throws DarkbloomError `unprocessable` as `checkSchema`. */
export function answerGrammar(format: AnswerFormat): string | undefined {
  if (format.type === 'text') return undefined;
  const rules = new GrammarRules();
  return rules.text(rules.schema(format.type === 'json' ? { type: 'object' } : format.schema, 'response_format'));
}
