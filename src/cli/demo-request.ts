import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { readChunk } from '../inference/chunk-reader.js';

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
  onText: (text: string) => void;
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
 *  @throws DarkbloomError `provider_error` when the answer did not come. */
export async function sendDemoRequest({
  baseUrl,
  apiKey,
  model,
  prompt,
  signal,
  onText,
}: DemoRequest): Promise<DemoResult> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const sent = performance.now();
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ model, messages: [{ role: 'user', content: prompt }], stream: true, temperature: 0 }),
    signal,
  });
  if (!response.ok || response.body === null) throw new DarkbloomError('provider_error', await response.text());
  let answer = '';
  let first: number | undefined;
  let finished = false;
  for await (const line of createInterface({ input: Readable.from(response.body) })) {
    const content = readChunk(line);
    if (content === undefined) continue;
    if (content.finishReason !== undefined) finished = true;
    if (content.text === '') continue;
    first ??= performance.now();
    answer += content.text;
    onText(content.text);
  }
  const end = performance.now();
  if (!finished) throw new DarkbloomError('provider_error', 'The answer broke off.');

  const jobId = response.headers.get('x-inference-job-id');
  const list = await fetch(`${baseUrl}/payments/usage`, { headers, signal });
  const row = UsageList.parse(await list.json()).usage.find(({ job_id }) => job_id === jobId);
  if (row === undefined) throw new DarkbloomError('provider_error', 'The request left no usage row.');
  const begun = first ?? end;
  const seconds = (end - begun) / 1_000;
  return {
    answer,
    model,
    route: row.route,
    encrypted: response.headers.get('x-provider-encrypted') === 'true',
    ttft_ms: Math.round(begun - sent),
    tokens_per_second: seconds > 0 ? Math.round(row.completion_tokens / seconds) : 0,
    prompt_tokens: row.prompt_tokens,
    completion_tokens: row.completion_tokens,
    cost_micro_usd: row.cost_micro_usd,
  };
}
