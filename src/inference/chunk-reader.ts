import { z } from 'zod';

/** One opened chunk of a provider, read from its SSE text (`data: ` and JSON). */

const count = z.number().int().nonnegative();

const Chunk = z.object({
  choices: z
    .array(
      z.object({
        delta: z.object({ role: z.string().nullish(), content: z.string().nullish() }).optional(),
        finish_reason: z.string().nullish(),
      }),
    )
    .default([]),
  darkbloom: z.object({ prompt_tokens: count, cached_tokens: count.optional() }).optional(),
});

export interface ChunkContent {
  text: string;
  finishReason: string | undefined;
  /** On the first chunk, from providers that say it. */
  promptTokens: number | undefined;
  cachedTokens: number | undefined;
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
    text: choice?.delta?.content ?? '',
    finishReason: choice?.finish_reason ?? undefined,
    promptTokens: chunk?.darkbloom?.prompt_tokens,
    cachedTokens: chunk?.darkbloom?.cached_tokens,
  };
}
