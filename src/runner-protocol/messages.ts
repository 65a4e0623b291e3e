import { z } from 'zod';

/** Between the engine (parent) and one runner (child process), over the IPC channel. Plain text passes here and only
 *  here outside a process: an anonymous pipe, never a file or an argument. */

/** Messages of content that a request may be ahead of its reader; then its row stands still until the reader catches up. */
export const READ_AHEAD = 64;
/** Messages of content that one token may bring: text that was held back, a call's beginning, its arguments, the next. */
export const MAX_MESSAGES_PER_TOKEN = 16;
/** The reader acknowledges in steps of this many messages. */
export const ACK_EVERY = 16;

const Id = z.number().int().nonnegative();

export const LoadOrder = z.object({
  type: z.literal('load'),
  modelPath: z.string(),
  /** What the model is for; absent: answers. */
  task: z.enum(['answers', 'vectors']).optional(),
  /** Sequences of the context. */
  rows: z.number().int().positive(),
  /** Tokens of each row; clamped to what the model was trained for. */
  contextTokens: z.number().int().positive(),
  /** CPU threads; absent: chosen by the runner. */
  threads: z.number().int().positive().optional(),
  /** Layers on the GPU; absent or `auto`: as many as fit. */
  gpuLayers: z.union([z.literal('auto'), z.number().int().nonnegative()]).optional(),
  /** Absent or `auto`: where model and device can. */
  flashAttention: z.enum(['auto', 'on', 'off']).optional(),
  /** Type of the KV cache's values; absent: f16. */
  kvType: z.enum(['f16', 'q8_0', 'q4_0']).optional(),
  /** Weights are mapped from the file; absent or `auto`: where the device can. */
  mmap: z.enum(['auto', 'on', 'off']).optional(),
  /** Weights are locked into memory. */
  mlock: z.boolean().optional(),
  /** Memory for what rows held, and what of it a row takes whatever it holds and for each of its tokens; absent: none. */
  prefixMemory: z
    .object({
      bytes: z.number().int().nonnegative(),
      bytesPerRow: z.number().nonnegative(),
      bytesPerToken: z.number().nonnegative(),
    })
    .optional(),
});
export type LoadOrder = z.infer<typeof LoadOrder>;

export const GenerateOrder = z.object({
  type: z.literal('generate'),
  id: Id,
  messages: z.array(
    z.object({
      role: z.enum(['system', 'user', 'assistant', 'tool']),
      content: z.string(),
      reasoning: z.string().optional(),
      toolCalls: z.array(z.object({ id: z.string(), name: z.string(), arguments: z.string() })).optional(),
      toolCallId: z.string().optional(),
      name: z.string().optional(),
    }),
  ),
  tools: z.array(
    z.object({
      name: z.string(),
      description: z.string().optional(),
      /** JSON Schema. */
      parameters: z.record(z.string(), z.unknown()),
    }),
  ),
  toolChoice: z.union([z.enum(['auto', 'none', 'required']), z.object({ name: z.string() })]),
  parallelToolCalls: z.boolean(),
  format: z.discriminatedUnion('type', [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json') }),
    z.object({ type: z.literal('schema'), schema: z.record(z.string(), z.unknown()) }),
  ]),
  templateArguments: z.record(z.string(), z.unknown()),
  /** The likeliest tokens told beside each token of the text; absent: no probabilities. */
  topLogprobs: z.number().int().min(0).max(20).optional(),
  /** By token id. */
  logitBias: z.record(z.string(), z.number()),
  sampling: z.object({
    temperature: z.number(),
    topP: z.number(),
    topK: z.number(),
    minP: z.number(),
    presencePenalty: z.number(),
    frequencyPenalty: z.number(),
    repetitionPenalty: z.number(),
    seed: z.number().optional(),
  }),
  stop: z.array(z.string()),
  maxTokens: z.number().int().positive().optional(),
  /** Requests with the same scope may share what they have in common; absent: shares nothing. */
  cacheScope: z.string().optional(),
});
export type GenerateOrder = z.infer<typeof GenerateOrder>;

/** How many tokens the prompt of such an order has. */
const CountOrder = GenerateOrder.extend({ type: z.literal('count') });
export type CountOrder = z.infer<typeof CountOrder>;

/** The vectors of texts, or of tokens. */
const EmbedOrder = z.object({
  type: z.literal('embed'),
  id: Id,
  inputs: z.array(z.union([z.string(), z.array(Id)])),
});
export type EmbedOrder = z.infer<typeof EmbedOrder>;

export const EngineMessage = z.discriminatedUnion('type', [
  LoadOrder,
  GenerateOrder,
  CountOrder,
  EmbedOrder,
  z.object({ type: z.literal('ack'), id: Id, messages: z.number().int().positive() }),
  z.object({ type: z.literal('cancel'), id: Id }),
]);
export type EngineMessage = z.infer<typeof EngineMessage>;

/** What is left of an order that does not fit: enough to refuse it. */
export const UnreadableOrder = z.object({ type: z.enum(['generate', 'count', 'embed']), id: Id });

export const ModelFacts = z.object({
  contextTokens: z.number(),
  rows: z.number(),
  /** What computes: `metal`, `cuda`, `vulkan` or `cpu`. */
  device: z.string(),
  /** Layers on that device; 0: all on the CPU. */
  gpuLayers: z.number(),
  /** What the whole process takes with the model in it, on a GPU too. */
  memoryBytes: z.number(),
  /** Values of a vector, of a model that is for vectors. */
  dimensions: z.number().optional(),
});
export type ModelFacts = z.infer<typeof ModelFacts>;

const Logprob = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.number()) });

export const FailureCode = z.enum([
  'context_length_exceeded',
  'cancelled',
  'invalid_request',
  'unprocessable',
  'internal',
]);

/** What becomes of one request.  started ─▶ content* ─▶ done, or failed at any place */
export const RequestMessage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('started'),
    id: Id,
    promptTokens: z.number(),
    /** Of those, tokens that a row held already. */
    cachedTokens: z.number(),
  }),
  z.object({
    type: z.literal('text'),
    id: Id,
    text: z.string(),
    logprobs: z.array(Logprob.extend({ top: z.array(Logprob) })).optional(),
  }),
  z.object({ type: z.literal('reasoning'), id: Id, text: z.string() }),
  z.object({
    type: z.literal('tool_call'),
    id: Id,
    index: z.number().int().nonnegative(),
    callId: z.string(),
    name: z.string(),
  }),
  z.object({ type: z.literal('tool_arguments'), id: Id, index: z.number().int().nonnegative(), text: z.string() }),
  z.object({
    type: z.literal('done'),
    id: Id,
    finishReason: z.enum(['stop', 'length', 'tool_calls']),
    stopSequence: z.string().nullable(),
    promptTokens: z.number(),
    cachedTokens: z.number(),
    completionTokens: z.number(),
    /** Of those, tokens of reasoning. */
    reasoningTokens: z.number(),
    /** Milliseconds from the first share of the reading to the first token, and from there to the end. */
    promptMs: z.number(),
    outputMs: z.number(),
  }),
  z.object({
    type: z.literal('failed'),
    id: Id,
    code: FailureCode,
    message: z.string(),
    /** The field of the request that is wrong. */
    param: z.string().optional(),
    promptTokens: z.number(),
    cachedTokens: z.number(),
    /** Tokens generated before it ended. */
    completionTokens: z.number(),
  }),
]);
export type RequestMessage = z.infer<typeof RequestMessage>;

/** The one reply to a `count` or `embed`. */
export const OperationMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('counted'), id: Id, promptTokens: z.number() }),
  z.object({
    type: z.literal('embedded'),
    id: Id,
    promptTokens: z.number(),
    /** Of the inputs in their order, each of length 1. */
    vectors: z.array(z.custom<Float32Array>((value) => value instanceof Float32Array)),
  }),
  z.object({
    type: z.literal('refused'),
    id: Id,
    code: FailureCode,
    message: z.string(),
    param: z.string().optional(),
  }),
]);
export type OperationMessage = z.infer<typeof OperationMessage>;

export const RunnerMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready'), facts: ModelFacts }),
  z.object({ type: z.literal('load_failed'), message: z.string() }),
  /** A part of the model was read, or a text of an order for vectors: a runner that is silent for long hangs. */
  z.object({ type: z.literal('progress') }),
  /** A line for the log, of the runtime's own logger while it loads: it has seen no request then. */
  z.object({ type: z.literal('log'), line: z.string() }),
  /** What the process takes now, told after answers. */
  z.object({ type: z.literal('memory'), bytes: z.number() }),
  /** All that one step of the loop has to tell, in order: one message, however many requests there are, and none that has
   *  anything to tell. */
  z.object({ type: z.literal('step'), messages: z.array(RequestMessage) }),
  OperationMessage,
]);
export type RunnerMessage = z.infer<typeof RunnerMessage>;
