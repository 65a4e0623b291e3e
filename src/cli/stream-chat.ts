import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { readChunk, textIn } from '../inference/chunk-reader.js';
import { tryJson } from '../util/json.js';

interface StreamedRequest {
  /** `http://127.0.0.1:8000/v1` */
  baseUrl: string;
  apiKey: string;
  model: string;
  prompt: string;
  signal: AbortSignal;
  /** Called with each piece of the answer as it comes. */
  onText?: (text: string) => void;
  maxTokens?: number;
  temperature?: number;
}

/** What a client sees of one streamed answer. */
interface StreamedChat {
  answer: string;
  /** Absent at the direct endpoint, which keeps no books. */
  jobId: string | null;
  /** From the response header: the coordinator sealed it to the provider. */
  encrypted: boolean;
  /** From sending to the first content. */
  ttftMs: number;
  /** From the first content to the end. */
  writingMs: number;
  usage: { promptTokens: number; completionTokens: number };
}

const UsageChunk = z.object({ usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }) });
const Refusal = z.object({ error: z.object({ message: z.string() }) });

/** One streamed chat request over HTTP, the way any client sends it.
 *  @throws DarkbloomError `over_capacity` when it may work later, `provider_error` when the answer did not come whole. */
export async function streamChat(request: StreamedRequest): Promise<StreamedChat> {
  const { baseUrl, apiKey, model, prompt, signal, onText, maxTokens, temperature } = request;
  const sent = performance.now();
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: prompt }],
      stream: true,
      stream_options: { include_usage: true },
      ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
      ...(temperature === undefined ? {} : { temperature }),
    }),
    signal,
  });
  if (!response.ok || response.body === null) throw refusal(response.status, await response.text());
  let answer = '';
  let first: number | undefined;
  let usage: StreamedChat['usage'] | undefined;
  for await (const line of createInterface({ input: Readable.from(response.body) })) {
    const events = readChunk(line)?.events ?? [];
    if (events.length > 0) first ??= performance.now();
    const text = textIn(events);
    answer += text;
    if (text !== '') onText?.(text);
    const told = UsageChunk.safeParse(tryJson(line.slice('data: '.length))).data?.usage;
    if (told !== undefined) {
      usage = { promptTokens: told.prompt_tokens, completionTokens: told.completion_tokens };
    }
  }
  const end = performance.now();
  if (usage === undefined) {
    throw new DarkbloomError('provider_error', 'The answer broke off. `darkbloom-provider logs` may say why.');
  }
  const begun = first ?? end; // an answer without any content
  return {
    answer,
    jobId: response.headers.get('x-inference-job-id'),
    encrypted: response.headers.get('x-provider-encrypted') === 'true',
    ttftMs: begun - sent,
    writingMs: end - begun,
    usage,
  };
}

function refusal(status: number, body: string): DarkbloomError {
  const said = Refusal.safeParse(tryJson(body)).data?.error.message;
  const message = `The request was refused (status ${status}): ${said ?? 'without a reason'}`;
  return status === 429 || status === 503
    ? new DarkbloomError('over_capacity', `${message} Try again when it is less busy.`)
    : new DarkbloomError('provider_error', message);
}
