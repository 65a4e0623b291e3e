import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { readChunk, textIn } from '../inference/chunk-reader.js';
import { tryJson } from '../util/json.js';

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
  maxTokens?: number;
}

const Refusal = z.object({ error: z.object({ message: z.string() }) });

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
export async function sendDemoRequest(request: DemoRequest): Promise<DemoResult> {
  const { baseUrl, apiKey, model, signal } = request;
  const streamed = await streamChat(request);
  const headers = { authorization: `Bearer ${apiKey}` };
  const list = await fetch(`${baseUrl}/payments/usage`, { headers, signal });
  const row = UsageList.parse(await list.json()).usage.find(({ job_id }) => job_id === streamed.jobId);
  if (row === undefined) throw new DarkbloomError('provider_error', 'The request left no usage row.');
  const { answer, encrypted, seconds, ttftMs } = streamed;
  return {
    answer,
    model,
    route: row.route,
    encrypted,
    ttft_ms: ttftMs,
    tokens_per_second: seconds > 0 ? Math.round(row.completion_tokens / seconds) : 0,
    prompt_tokens: row.prompt_tokens,
    completion_tokens: row.completion_tokens,
    cost_micro_usd: row.cost_micro_usd,
  };
}

/** What a client sees of one streamed answer. */
interface StreamedChat {
  answer: string;
  /** Absent at the direct endpoint, which keeps no books. */
  jobId: string | null;
  /** From the response header: the coordinator sealed it to the provider. */
  encrypted: boolean;
  ttftMs: number;
  /** From the first text to the end. */
  seconds: number;
}

/** @throws DarkbloomError `provider_error` when the answer did not come whole. */
export async function streamChat({
  baseUrl,
  apiKey,
  model,
  prompt,
  signal,
  onText,
  maxTokens,
}: DemoRequest): Promise<StreamedChat> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const messages = [{ role: 'user', content: prompt }];
  const bound = maxTokens === undefined ? {} : { max_tokens: maxTokens };
  const sent = performance.now();
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ model, messages, stream: true, temperature: 0, ...bound }),
    signal,
  });
  if (!response.ok || response.body === null) throw refusal(await response.text());
  let answer = '';
  let first: number | undefined;
  let finished = false;
  for await (const line of createInterface({ input: Readable.from(response.body) })) {
    const content = readChunk(line);
    if (content === undefined) continue;
    if (content.finishReason !== undefined) finished = true;
    const text = textIn(content.events);
    if (text === '') continue;
    first ??= performance.now();
    answer += text;
    onText?.(text);
  }
  const end = performance.now();
  if (!finished) throw new DarkbloomError('provider_error', 'The answer broke off.');
  const begun = first ?? end;
  return {
    answer,
    jobId: response.headers.get('x-inference-job-id'),
    encrypted: response.headers.get('x-provider-encrypted') === 'true',
    ttftMs: Math.round(begun - sent),
    seconds: (end - begun) / 1_000,
  };
}

function refusal(text: string): DarkbloomError {
  const body = Refusal.safeParse(tryJson(text)).data;
  return new DarkbloomError('provider_error', body === undefined ? text : body.error.message);
}
