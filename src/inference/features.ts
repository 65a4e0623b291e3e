/** What a model of answers can be asked for on this engine, in the words of `supported_features`. All of them are held to
 *  grammars and tell probabilities; where a template knows no tools, they are described in its system text. */
const ENGINE_FEATURES = ['json_mode', 'logprobs', 'structured_outputs', 'tools'];

/** `thinks`: it writes thoughts that are told apart from its answer. */
export function chatCapabilities(thinks: boolean): string[] {
  return ['chat', ...ENGINE_FEATURES, ...(thinks ? ['reasoning'] : [])];
}
