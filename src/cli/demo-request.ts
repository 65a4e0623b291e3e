import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { streamChat } from './stream-chat.js';

/** What one streamed request showed, all of it read from what the coordinator sent or stored. */
export interface DemoResult {
  answer: string;
  model: string;
  /** From the stored usage row. */
  route: string;
  /** From the response header. */
  encrypted: boolean;
  ttft_ms: number;
  tokens_per_second: number;
  prompt_tokens: number;
  completion_tokens: number;
  /** From the stored usage row. */
  cost_micro_usd: number;
}

interface DemoRequest {
  baseUrl: string;
  apiKey: string;
  model: string;
  prompt: string;
  signal: AbortSignal;
  /** Called with each piece of the answer as it comes. */
  onText?: (text: string) => void;
}

const UsageList = z.object({
  usage: z.array(
    z.object({
      job_id: z.string(),
      route: z.string(),
      cost_micro_usd: z.number(),
      prompt_tokens: z.number(),
      completion_tokens: z.number(),
    }),
  ),
});

/** Sends one streamed chat request the way any client would, and reads back how it was recorded.
 *  @throws DarkbloomError `over_capacity`, `provider_error` when the answer did not come. */
export async function sendDemoRequest(request: DemoRequest): Promise<DemoResult> {
  const { baseUrl, apiKey, model, signal } = request;
  const streamed = await streamChat({ ...request, temperature: 0 });
  const headers = { authorization: `Bearer ${apiKey}` };
  const list = await fetch(`${baseUrl}/payments/usage`, { headers, signal });
  const row = UsageList.parse(await list.json()).usage.find(({ job_id }) => job_id === streamed.jobId);
  if (row === undefined) throw new DarkbloomError('provider_error', 'The request left no usage row.');
  const { answer, encrypted, ttftMs, writingMs } = streamed;
  return {
    answer,
    model,
    route: row.route,
    encrypted,
    ttft_ms: Math.round(ttftMs),
    tokens_per_second: writingMs > 0 ? Math.round((row.completion_tokens / writingMs) * 1_000) : 0,
    prompt_tokens: row.prompt_tokens,
    completion_tokens: row.completion_tokens,
    cost_micro_usd: row.cost_micro_usd,
  };
}
