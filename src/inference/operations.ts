import { z } from 'zod';
import { tryJson } from '../util/json.js';
import { parseEmbed, type EmbedRequest } from './embeddings.js';
import { parseChat } from './openai-chat.js';
import { isJsonObject, type ChatRequest, type Generator, type JsonObject, type OperationResult } from './types.js';
import { vectorFromBase64, vectorToBase64 } from './vectors.js';

/** Operations of a model beside answers. Over the wire they are `darkbloom.op` in the sealed body (docs/protocol.md). */

export type Operation = { op: 'count'; request: ChatRequest } | { op: 'embed'; request: EmbedRequest };

/** accepted ─▶ result, or an error thrown by the iterator */
export type OperationEvent = { type: 'accepted' } | { type: 'result'; result: OperationResult };

export interface Operator {
  /** @throws DarkbloomError from the iterator; `cancelled` when the signal was aborted. */
  operate(operation: Operation, signal: AbortSignal): AsyncIterable<OperationEvent>;
}

/** All that a door asks of who runs the models. */
export type Engine = Generator & Operator;

/** The operation that a body asks for; `undefined` for chat, and for an operation that is not known here.
 *  @throws DarkbloomError `invalid_request` naming the field. */
export function parseOperation(body: JsonObject): Operation | undefined {
  const { darkbloom } = body;
  if (!isJsonObject(darkbloom)) return undefined;
  const { op, ...rest } = darkbloom;
  const plain = { ...body, darkbloom: rest };
  if (op === 'count') return { op, request: parseChat(plain) };
  if (op === 'embed') return { op, request: parseEmbed(plain) };
  return undefined;
}

const OBJECT = 'darkbloom.result';
const count = z.number().int().nonnegative();
const Result = z.discriminatedUnion('op', [
  z.object({ object: z.literal(OBJECT), op: z.literal('count'), prompt_tokens: count }),
  z.object({ object: z.literal(OBJECT), op: z.literal('embed'), prompt_tokens: count, vectors: z.array(z.base64()) }),
]);

/** A result as the one chunk of its answer: `data: ` and compact JSON, vectors as base64 of little-endian floats. */
export function writeResult(result: OperationResult): string {
  const { op, promptTokens } = result;
  const vectors = result.op === 'embed' ? { vectors: result.vectors.map(vectorToBase64) } : {};
  return `data: ${JSON.stringify({ object: OBJECT, op, prompt_tokens: promptTokens, ...vectors })}`;
}

/** `undefined` for what is no result. */
export function readResult(event: string): OperationResult | undefined {
  if (!event.startsWith(`data: {"object":"${OBJECT}"`)) return undefined;
  const result = Result.safeParse(tryJson(event.slice('data: '.length))).data;
  if (result === undefined) return undefined;
  const promptTokens = result.prompt_tokens;
  return result.op === 'count'
    ? { op: 'count', promptTokens }
    : { op: 'embed', promptTokens, vectors: result.vectors.map(vectorFromBase64) };
}
