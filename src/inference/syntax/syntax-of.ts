import { DEEPSEEK } from './deepseek.js';
import { FUNCTION_GEMMA, GEMMA3, GEMMA4 } from './gemma.js';
import { HARMONY } from './harmony.js';
import { HERMES } from './hermes.js';
import { LLAMA } from './llama.js';
import { MISTRAL } from './mistral.js';
import type { Syntax } from './syntax.js';

/** What is found in a family's templates and in no other's, the surest first. */
const SIGNS: readonly [sign: string, syntax: Syntax][] = [
  ['<|channel|>', HARMONY],
  ['<|tool_call>', GEMMA4],
  ['<start_function_call>', FUNCTION_GEMMA],
  ['<｜tool▁calls▁begin｜>', DEEPSEEK],
  ['[TOOL_CALLS]', MISTRAL],
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
  return SIGNS.find(([sign]) => template.includes(sign))?.[1];
}
