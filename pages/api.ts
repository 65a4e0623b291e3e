import type { UsageRow } from './bars.js';

/** The coordinator's routes, as these pages use them. Page and server are of one version and one origin, so what comes
 *  back is believed to have its shape. */

const TIMEOUT_MS = 15_000;

export interface Session {
  signed_in: boolean;
  account?: string;
  owner?: boolean;
}

export interface Model {
  id: string;
  context_length?: number;
  metadata?: { quantization: string; routable_providers: number };
}

export interface MachineModel {
  id: string;
  build: string;
  state: 'absent' | 'loading' | 'ready' | 'failed';
  running: number;
  waiting: number;
  decode_tps?: number;
}

export interface Machine {
  id: string;
  chip: string;
  machine_model: string;
  memory_gb: number;
  version?: string;
  state: 'ready' | 'busy' | 'paused' | 'checking' | 'hot' | 'untrusted';
  reason?: string;
  connected_at: string;
  running: number;
  waiting: number;
  tokens_per_second: number[];
  models: MachineModel[];
}

export interface Machines {
  linked: boolean;
  machines: Machine[];
}

export interface ApiKey {
  id: string;
  name: string;
  label: string;
  disabled: boolean;
  /** What may be spent in each window, and what was spent in this one, USD. */
  limit_usd?: number;
  limit_reset: 'none' | 'daily' | 'weekly' | 'monthly';
  usage_usd: number;
  allowed_models?: string[];
  self_route_only: boolean;
  expires_at?: string;
  created_at: string;
  last_used_at?: string;
}

export interface Usage {
  complete: boolean;
  rows: UsageRow[];
}

export interface Balance {
  balance_micro_usd: number;
}

export interface Snippets {
  base_url: string;
  api_key?: string;
  snippets: { title: string; code: string }[];
}

/** What went wrong, in words for people. `status` 0: no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface Route {
  method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  body?: object;
}

/** One JSON call.
 *  @throws ApiError */
export async function call<T>(path: string, { method = 'GET', body }: Route = {}): Promise<T> {
  const response = await send(
    path,
    { method, ...(body === undefined ? {} : { body }) },
    AbortSignal.timeout(TIMEOUT_MS),
  );
  return (await response.json()) as T;
}

/** Every name that a request may use. */
export async function allModels(): Promise<Model[]> {
  return (await call<{ data: Model[] }>('/v1/models')).data;
}

export interface ChatMessage {
  role: 'user' | 'assistant';
  content: string;
}

interface ChatChunk {
  choices?: { delta?: { content?: string; reasoning_content?: string }; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number };
  error?: { message: string };
}

/** What an answer consists of. */
export type ChatPart =
  { type: 'text' | 'reasoning'; text: string } | { type: 'end'; reason: string } | { type: 'usage'; tokens: number };

/** An answer as it comes: from the account's own machines alone, or from any, which costs.
 *  @throws ApiError; the signal's reason. */
export async function* chat(
  model: string,
  messages: readonly ChatMessage[],
  route: 'self' | 'none',
  signal: AbortSignal,
): AsyncGenerator<ChatPart> {
  const body = { model, messages, stream: true, stream_options: { include_usage: true } };
  const headers = { 'x-darkbloom-route': route };
  const response = await send('/v1/chat/completions', { method: 'POST', headers, body }, signal);
  for await (const event of serverSentEvents(response)) {
    if (event === '[DONE]') return;
    const { choices, usage, error } = JSON.parse(event) as ChatChunk;
    if (error !== undefined) throw new ApiError(response.status, error.message);
    const { delta, finish_reason: reason } = choices?.[0] ?? {};
    if (delta?.reasoning_content) yield { type: 'reasoning', text: delta.reasoning_content };
    if (delta?.content) yield { type: 'text', text: delta.content };
    if (reason) yield { type: 'end', reason };
    if (usage !== undefined) yield { type: 'usage', tokens: usage.completion_tokens };
  }
  throw new ApiError(response.status, 'The answer broke off.');
}

/** The `data` of each event. */
async function* serverSentEvents({ body }: Response): AsyncGenerator<string> {
  if (body === null) return;
  let text = '';
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const events = (text + next.value).split('\n\n');
      text = events.pop() ?? '';
      for (const event of events) if (event.startsWith('data: ')) yield event.slice('data: '.length);
    }
  } catch (error) {
    throw error instanceof TypeError
      ? new ApiError(0, 'The connection broke off before the answer was complete.')
      : error;
  } finally {
    void reader.cancel().catch(() => undefined); // of a stream that broke there is nothing to cancel
  }
}

async function send(
  path: string,
  { method = 'GET', headers = {}, body }: Route & { headers?: Record<string, string> },
  signal: AbortSignal,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(0, 'The coordinator does not answer. On its machine, `darkbloom-provider why` names the cause.');
  }
  if (response.ok) return response;
  throw new ApiError(response.status, await said(response));
}

async function said(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string } };
    if (error?.message) return error.message;
  } catch {
    // not one of ours: a proxy in between
  }
  return `The coordinator answered with ${response.status}. Its log has more: \`darkbloom-provider logs\`.`;
}
