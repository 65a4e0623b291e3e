import { z } from 'zod';
import type { ContentEvent, FinishReason } from './types.js';

/** One opened chunk of a provider, read from its SSE text (`data: ` and JSON). */

const count = z.number().int().nonnegative();
const Logprob = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.number()).nullish() });

const ToolCallDelta = z.object({
  index: count.default(0),
  id: z.string().nullish(),
  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).default({}),
});

const Delta = z.object({
  content: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.string().nullish(),
  tool_calls: z.array(ToolCallDelta).nullish(),
});

const Chunk = z.object({
  choices: z
    .array(
      z.object({
        delta: Delta.optional(),
        logprobs: z
          .object({ content: z.array(Logprob.extend({ top_logprobs: z.array(Logprob).default([]) })).nullish() })
          .nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .default([]),
  usage: z.object({ completion_tokens_details: z.object({ reasoning_tokens: count.nullish() }).nullish() }).nullish(),
  darkbloom: z.object({ prompt_tokens: count, cached_tokens: count.optional() }).optional(),
});

export interface ChunkContent {
  /** What the model wrote. */
  events: ContentEvent[];
  finishReason: FinishReason | undefined;
  /** On the first chunk, from providers that say it. */
  promptTokens: number | undefined;
  cachedTokens: number | undefined;
  /** On the chunk with the usage, from providers that say it. */
  reasoningTokens: number | undefined;
}

/** `undefined` for what is no chunk of an answer: a comment, `[DONE]`, or text that does not parse. */
export function readChunk(event: string): ChunkContent | undefined {
  if (!event.startsWith('data: {')) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(event.slice('data: '.length));
  } catch {
    return undefined;
  }
  const chunk = Chunk.safeParse(json).data;
  const choice = chunk?.choices[0];
  return {
    events: [...contentOf(choice?.delta ?? {}, logprobsOf(choice?.logprobs?.content ?? []))],
    finishReason: finishReasonOf(choice?.finish_reason),
    promptTokens: chunk?.darkbloom?.prompt_tokens,
    cachedTokens: chunk?.darkbloom?.cached_tokens,
    reasoningTokens: chunk?.usage?.completion_tokens_details?.reasoning_tokens ?? undefined,
  };
}

/** The answer's text in these events, without reasoning and calls. */
export function textIn(events: readonly ContentEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.text : '')).join('');
}

type Logprobs = NonNullable<Extract<ContentEvent, { type: 'text' }>['logprobs']>;

function* contentOf(delta: z.infer<typeof Delta>, logprobs: Logprobs): Generator<ContentEvent> {
  const { content, tool_calls: calls } = delta;
  const reasoning = delta.reasoning_content ?? delta.reasoning ?? '';
  if (reasoning !== '') yield { type: 'reasoning', text: reasoning };
  const text = content ?? '';
  if (logprobs.length > 0) yield { type: 'text', text, logprobs };
  else if (text !== '') yield { type: 'text', text };
  for (const { index, id, function: called } of calls ?? []) {
    // the id comes once, with the name: it begins a call
    if (typeof id === 'string' && id !== '') yield { type: 'tool_call', index, id, name: called.name ?? '' };
    if (typeof called.arguments === 'string' && called.arguments !== '') {
      yield { type: 'tool_arguments', index, text: called.arguments };
    }
  }
}

function logprobsOf(
  content: readonly (z.infer<typeof Logprob> & { top_logprobs: z.infer<typeof Logprob>[] })[],
): Logprobs {
  const plain = ({ token, logprob, bytes }: z.infer<typeof Logprob>) => ({
    token,
    logprob,
    bytes: bytes ?? [...Buffer.from(token)],
  });
  return content.map((each) => ({ ...plain(each), top: each.top_logprobs.map(plain) }));
}

function finishReasonOf(reason: string | null | undefined): FinishReason | undefined {
  if (reason === null || reason === undefined) return undefined;
  return reason === 'length' || reason === 'tool_calls' ? reason : 'stop';
}
