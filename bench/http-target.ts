import { request, type IncomingMessage } from 'node:http';
import { z } from 'zod';
import { SAMPLING, type Target, type TargetEvent, type TargetRequest } from './target.js';

const MAX_ERROR_CHARACTERS = 300;

const Chunk = z.object({
  choices: z.array(z.object({ delta: z.object({ content: z.string().nullish() }).optional() })).optional(),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
  error: z.unknown().optional(),
});

/** A refusal that says when to come again. */
export class Refused extends Error {
  readonly status: number;
  readonly retryAfterS: number | undefined;

  constructor(status: number, retryAfterS: number | undefined, body: string) {
    super(`status ${status}: ${body.slice(0, MAX_ERROR_CHARACTERS)}`);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** Any server that speaks OpenAI's chat completions over plain HTTP. A connection for each request: llama.cpp's server
 *  closes it after a stream, although it promises to keep it, and all shall pay the same. */
export class HttpTarget implements Target {
  readonly #url: URL;
  readonly #apiKey: string;
  readonly #model: string;

  /** `baseUrl` ends with `/v1`. */
  constructor(spec: { baseUrl: string; apiKey: string; model: string }) {
    this.#url = new URL(`${spec.baseUrl}/chat/completions`);
    this.#apiKey = spec.apiKey;
    this.#model = spec.model;
  }

  async *ask({ prompt, maxTokens }: TargetRequest, signal: AbortSignal): AsyncGenerator<TargetEvent> {
    const sampling = {
      temperature: SAMPLING.temperature,
      top_k: SAMPLING.topK,
      top_p: SAMPLING.topP,
      min_p: SAMPLING.minP,
    };
    // llama.cpp's server knows ignore_eos; others ignore it, and their model must not end by itself
    for await (const data of this.stream({ prompt, maxTokens, ...sampling, ignore_eos: true }, signal)) {
      const { choices, usage, error } = Chunk.parse(JSON.parse(data));
      if (error !== undefined) throw new Error(JSON.stringify(error).slice(0, MAX_ERROR_CHARACTERS));
      const text = choices?.[0]?.delta?.content ?? '';
      if (text !== '') yield { type: 'text' };
      if (usage === undefined || usage === null) continue;
      yield { type: 'end', promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens };
    }
  }

  /** The data of each SSE event, without `[DONE]`.
   *  @throws Refused for any status but 200. */
  async *stream(
    { prompt, maxTokens, ...rest }: { prompt: string; maxTokens: number } & Record<string, unknown>,
    signal: AbortSignal,
  ): AsyncGenerator<string> {
    const body = JSON.stringify({
      model: this.#model,
      messages: [{ role: 'user', content: prompt }],
      max_tokens: maxTokens,
      stream: true,
      stream_options: { include_usage: true },
      ...rest,
    });
    const response = await this.#post(body, signal);
    response.setEncoding('utf8');
    if (response.statusCode !== 200) throw await refusal(response);
    let unfinished = '';
    for await (const text of response as AsyncIterable<string>) {
      const lines = (unfinished + text).split('\n');
      unfinished = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('data: {')) yield line.slice('data: '.length);
    }
  }

  #post(body: string, signal: AbortSignal): Promise<IncomingMessage> {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      authorization: `Bearer ${this.#apiKey}`,
    };
    return new Promise((resolve, reject) => {
      const sent = request(this.#url, { method: 'POST', agent: false, headers, signal }, resolve);
      sent.on('error', reject);
      sent.end(body);
    });
  }

  async close(): Promise<void> {
    // nothing is kept open
  }
}

async function refusal(response: IncomingMessage): Promise<Refused> {
  let body = '';
  for await (const text of response as AsyncIterable<string>) body += text;
  const retryAfter = response.headers['retry-after'];
  return new Refused(response.statusCode ?? 0, retryAfter === undefined ? undefined : Number(retryAfter), body);
}
