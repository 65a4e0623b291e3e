/**
 * The library's own handle on llama.cpp, behind its public classes. Those queue each row's tokens by themselves, so that
 * a step falls apart into several batches in any order, and they offer neither copies between rows nor a row's state in
 * memory. What is used here is not public: the library's version is pinned, and loading fails if a part is missing.
 */

/** Holds a sampling chain and the tokens that it was given. */
export interface NativeSampler {
  applyConfig(config: SamplerConfig): void;
  dispose(): void;
}

/** Only what is named is in the chain; without a temperature above 0 the likeliest token is chosen. */
export interface SamplerConfig {
  temperature: number;
  topK?: number;
  topP?: number;
  minP?: number;
  /** 32 bits. */
  seed?: number;
  /** Tokens that are penalised from the start; those sampled later are added by the sampler itself. */
  repeatPenaltyTokens?: Uint32Array;
  repeatPenaltyMaxTokens?: number;
  repeatPenalty?: number;
  repeatPenaltyPresencePenalty?: number;
  repeatPenaltyFrequencyPenalty?: number;
  /** Ids of tokens, and what is added to the logit of each. */
  tokenBiasKeys?: Uint32Array;
  tokenBiasValues?: Float32Array;
  /** Tokens that it refuses are not chosen; the sampler tells it each token that was chosen. */
  grammarEvaluationState?: NativeGrammarState;
}

/** How far an answer has come in a grammar. */
export type NativeGrammarState = object;

/** Ids and logits, one after the other. */
type TokenLogits = readonly number[];

/** Which logits are wanted: of these tokens; the highest; the lowest; the chosen one's; so many of the likeliest. */
type LogitFilter = [tokens: readonly number[], highest: boolean, lowest: boolean, chosen: boolean, likeliest: number];

/** A row's state, copied out of the context into memory. */
export interface NativeState {
  init(context: NativeContext, sequence: number): Promise<void>;
  dispose(): void;
  readonly size: number;
}

export interface NativeContext {
  initBatch(tokens: number): void;
  /** Returns where in the batch the outputs of `outputsAt` will be. */
  addToBatch(sequence: number, position: number, tokens: Uint32Array, outputsAt: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  /** −1 when the chain left no token. */
  sampleToken(output: number, sampler: NativeSampler): Promise<number>;
  /** With the logits that the chain left, in no order, a token perhaps twice, and Σ e^(logit − highest logit). */
  sampleToken(
    output: number,
    sampler: NativeSampler,
    probabilities: false,
    confidence: false,
    logits: LogitFilter,
    totalWeight: true,
  ): Promise<[token: number, probabilities: undefined, confidence: unknown, logits: TokenLogits, totalWeight: number]>;
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean;
  /** Marks the whole row as a copy; the bytes are copied at the start of the next batch. */
  copySequenceStateFromOtherSequence(target: number, source: number): Promise<number>;
  /** False when the state does not fit or does not end at `lastPosition` once what is behind it is cut. */
  restoreCheckpoint(state: NativeState, lastPosition: number, sequence: number): Promise<boolean>;
}

export interface Native {
  context: NativeContext;
  createSampler: () => NativeSampler;
  createState: () => NativeState;
  /** @throws Error when the text is no grammar; the library then writes it to standard error. */
  createGrammarState: (grammar: string) => NativeGrammarState;
  allows: (state: NativeGrammarState, token: number) => boolean;
}

const CONTEXT_METHODS: readonly (keyof NativeContext)[] = [
  'initBatch',
  'addToBatch',
  'decodeBatch',
  'sampleToken',
  'removeTokenCellsFromSequence',
  'copySequenceStateFromOtherSequence',
  'restoreCheckpoint',
];

/** @throws Error when the library is not the version that this was written for. */
export function nativeOf(llama: object, model: object, context: object): Native {
  const handle: unknown = Reflect.get(context, '_ctx');
  const modelHandle: unknown = Reflect.get(model, '_model');
  const bindings: unknown = Reflect.get(llama, '_bindings');
  const {
    AddonSampler: Sampler,
    AddonContextSequenceCheckpoint: State,
    AddonGrammar: Grammar,
    AddonGrammarEvaluationState: GrammarState,
  } = isObject(bindings) ? (bindings as Record<string, unknown>) : {};
  const complete =
    isObject(handle) && CONTEXT_METHODS.every((method) => typeof Reflect.get(handle, method) === 'function');
  const allows: unknown = isClass(Sampler) && Reflect.get(Sampler, 'canBeNextTokenForGrammarEvaluationState');
  if (
    !complete ||
    !isClass(Sampler) ||
    !isClass(State) ||
    !isClass(Grammar) ||
    !isClass(GrammarState) ||
    typeof allows !== 'function'
  ) {
    throw new Error('This version of node-llama-cpp is not the one that the runner was written for.');
  }
  return {
    context: handle as unknown as NativeContext,
    createSampler: () => Reflect.construct(Sampler, [modelHandle]) as NativeSampler,
    createState: () => Reflect.construct(State, []) as NativeState,
    createGrammarState: (grammar) => {
      const compiled: unknown = Reflect.construct(Grammar, [grammar, { addonExports: bindings, rootRuleName: 'root' }]);
      return Reflect.construct(GrammarState, [modelHandle, compiled]) as NativeGrammarState;
    },
    allows: (state, token) => Reflect.apply(allows, Sampler, [state, token]) === true,
  };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isClass(value: unknown): value is new (...parameters: never[]) => object {
  return typeof value === 'function';
}
