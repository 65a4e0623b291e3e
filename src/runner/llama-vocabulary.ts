import type { LlamaModel, Token } from 'node-llama-cpp';
import { ControlTokens } from '../inference/control-tokens.js';
import type { PromptRun } from '../inference/prompt.js';
import { tokenizeRuns, type PromptVocabulary } from './prompt-tokens.js';
import { tokenBytes } from './token-bytes.js';

/** What the tokens of a model are. */
export interface Vocabulary {
  size: number;
  /** Text of each control token → its id; without those that end an answer. */
  control: ReadonlyMap<string, number>;
  isEnd(token: number): boolean;
  tell(token: number): { token: string; bytes: number[] };
}

export function vocabularyOf(model: LlamaModel, control: ReadonlyMap<string, Token>): Vocabulary {
  const { token_type: types = [], tokens: texts = [], model: tokenizer } = model.fileInfo.metadata.tokenizer.ggml;
  return {
    size: texts.length,
    control: new Map([...control].filter(([, token]) => !model.isEogToken(token))),
    isEnd: (token) => model.isEogToken(token as Token),
    tell: (id) => {
      const bytes = tokenBytes(texts[id] ?? '', Number(types[id] ?? 1), tokenizer);
      return { token: Buffer.from(bytes).toString(), bytes };
    },
  };
}

/** GGUF `tokenizer.ggml.token_type`. */
const CONTROL_TYPE = 3;
/** Found by the tokenizer in any text, though many of them mean as much as control tokens: `<think>`, `<tool_call>`. */
const USER_DEFINED_TYPE = 4;

/** Text of each control token of the vocabulary → its id. */
export function controlTokensOf(model: LlamaModel): Map<string, Token> {
  const { token_type: types = [], tokens: texts = [] } = model.fileInfo.metadata.tokenizer.ggml;
  const control = new Map<string, Token>();
  types.forEach((type, id) => {
    if (Number(type) === CONTROL_TYPE && texts[id] !== undefined) control.set(texts[id], id as Token);
  });
  return control;
}

export function promptVocabularyOf(model: LlamaModel): PromptVocabulary {
  const { token_type: types = [], tokens: texts = [], model: kind, ...rest } = model.fileInfo.metadata.tokenizer.ggml;
  const control = new Map<string, number>(controlTokensOf(model));
  const found: string[] = [];
  types.forEach((type, id) => {
    const text = texts[id] ?? '';
    // runs of spaces and single characters stand for themselves
    if (Number(type) !== USER_DEFINED_TYPE || text.trim() === '' || [...text].length === 1) return;
    found.push(text);
    control.set(text, id);
  });
  return {
    control,
    found: new ControlTokens(found),
    spaceInFront: kind === 'llama' && rest.add_space_prefix !== false,
    tokenize: (text) => model.tokenize(text, false),
  };
}

export function longestTokenBytes(model: LlamaModel): number {
  const { tokens: texts = [] } = model.fileInfo.metadata.tokenizer.ggml;
  return texts.reduce((longest, text) => Math.max(longest, Buffer.byteLength(text)), 1);
}

export function* tokenizePrompt(
  model: LlamaModel,
  vocabulary: PromptVocabulary,
  runs: readonly PromptRun[],
): Generator<number, number[]> {
  const tokens = yield* tokenizeRuns(runs, vocabulary);
  const { bos, shouldPrependBosToken } = model.tokens;
  return shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
}
