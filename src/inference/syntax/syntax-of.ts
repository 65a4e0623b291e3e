import { DEEPSEEK, DEEPSEEK_FENCED } from './deepseek.js';
import { FUNCTION_GEMMA, GEMMA3, GEMMA4 } from './gemma.js';
import { HARMONY } from './harmony.js';
import { HERMES, QWEN_CODER } from './hermes.js';
import { LLAMA } from './llama.js';
import { MISTRAL, MISTRAL_NAMED, MISTRAL_NUMBERED } from './mistral.js';
import type { Syntax } from './syntax.js';

/** What is found in a family's templates and in no other's, the surest first; some count only beside
 *  another. */
const SIGNS: readonly [sign: string, syntax: Syntax, beside?: string][] = [
  ['<|channel|>', HARMONY],
  ['<|tool_call>', GEMMA4],
  ['<start_function_call>', FUNCTION_GEMMA],
  ['```json', DEEPSEEK_FENCED, '<｜tool▁calls▁begin｜>'],
  ['<｜tool▁calls▁begin｜>', DEEPSEEK],
  ['[CALL_ID]', MISTRAL_NUMBERED, '[TOOL_CALLS]'],
  ['[ARGS]', MISTRAL_NAMED, '[TOOL_CALLS]'],
  ['[TOOL_CALLS]', MISTRAL],
  ['<function=', QWEN_CODER, '<tool_call>'],
  ['<tool_call>', HERMES],
  ['<|python_tag|>', LLAMA],
  ['"parameters": dictionary of argument name', LLAMA],
  ['<start_of_turn>', GEMMA3],
];

/** Templates with their own way of writing calls inside of marks that others use too: GLM. */
const FOREIGN = '<arg_key>';

/** The family of a model, by the text of its template. `undefined`: none that is known. */
export function syntaxOf(template: string | undefined): Syntax | undefined {
  if (template === undefined || template.includes(FOREIGN)) return undefined;
  return SIGNS.find(([sign, , beside = '']) => template.includes(sign) && template.includes(beside))?.[1];
}

/** Whether a model with this template writes thoughts that are told apart from its answer. */
export function templateThinks(template: string | undefined): boolean {
  if (template === undefined) return false;
  const syntax = syntaxOf(template) ?? HERMES;
  const [open] = syntax.thoughtMarks ?? [];
  return syntax === HARMONY || (open !== undefined && template.includes(open));
}
