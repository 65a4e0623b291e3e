import { auditBooks } from '../../src/coordinator/audit.js';
import { once } from 'node:events';
import { request } from 'node:http';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { CHAT_FIELDS } from '../../src/inference/openai-chat.js';
import { COMPLETION_FIELDS } from '../../src/inference/openai-completions.js';
import { RESPONSE_FIELDS } from '../../src/inference/openai-responses.js';
import type { ChatEvent } from '../../src/inference/types.js';
import { MODEL, ScriptedSystem } from '../support/scripted-system.js';

/** A value of each field that is refused, for every field that is looked at. */

const SECRET = 'xylophone';
const SAMPLING = {
  temperature: 2.01,
  top_p: -0.1,
  top_k: -1,
  min_p: 1.1,
  presence_penalty: -2.1,
  frequency_penalty: 2.1,
  repetition_penalty: 0,
  seed: 0.5,
  logit_bias: { 5: -101 },
  stop: ['a', 'b', 'c', 'd', SECRET],
};
const SENDING = { stream: SECRET, stream_options: { include_usage: SECRET } };
const HINTS = {
  user: [SECRET],
  safety_identifier: 5,
  metadata: SECRET,
  prompt_cache_key: SECRET.repeat(100),
  prompt_cache_retention: {},
  service_tier: SECRET,
};
const KWARGS = { chat_template_kwargs: { style: `<|${SECRET}|>` } };

const CHAT = {
  model: 5,
  messages: [{ role: SECRET, content: SECRET }],
  max_tokens: 0,
  max_completion_tokens: -1,
  max_output_tokens: 1.5,
  ...SAMPLING,
  n: 2,
  logprobs: SECRET,
  top_logprobs: 21,
  tools: [{ type: SECRET }],
  tool_choice: { type: 'function', function: { name: SECRET } },
  parallel_tool_calls: SECRET,
  response_format: { type: SECRET },
  reasoning_effort: SECRET,
  ...KWARGS,
  ...SENDING,
  ...HINTS,
  store: true,
  modalities: [SECRET],
  verbosity: SECRET,
  audio: { voice: SECRET },
  prediction: { content: SECRET },
  web_search_options: { user_location: SECRET },
  functions: [{ name: SECRET }],
  function_call: SECRET,
};
/** Fields of the wire between coordinator and provider. */
const OURS = new Set(['endpoint', 'darkbloom']);

const COMPLETIONS = {
  model: 5,
  prompt: [SECRET, SECRET],
  max_tokens: 0,
  max_completion_tokens: -1,
  ...SAMPLING,
  n: 2,
  logprobs: 6,
  reasoning_effort: SECRET,
  ...KWARGS,
  ...SENDING,
  ...HINTS,
  best_of: 2,
  echo: true,
  suffix: SECRET,
};

const RESPONSES = {
  model: 5,
  input: [{ type: SECRET }],
  instructions: [SECRET],
  max_output_tokens: 0,
  ...SAMPLING,
  top_logprobs: 21,
  include: [SECRET],
  tools: [{ type: SECRET }],
  tool_choice: { type: 'function', name: SECRET },
  parallel_tool_calls: SECRET,
  text: { format: { type: SECRET } },
  reasoning: { effort: SECRET },
  ...KWARGS,
  ...SENDING,
  ...HINTS,
  store: SECRET,
  truncation: 'auto',
  background: true,
  max_tool_calls: 3,
  previous_response_id: SECRET,
  conversation: SECRET,
  prompt: { id: SECRET },
};

const PATHS: [path: string, fields: readonly string[], bad: Record<string, unknown>, good: object][] = [
  ['/v1/chat/completions', CHAT_FIELDS, CHAT, { messages: [{ role: 'user', content: 'Hi' }] }],
  ['/v1/completions', COMPLETION_FIELDS, COMPLETIONS, { prompt: 'Hi' }],
  ['/v1/responses', RESPONSE_FIELDS, RESPONSES, { input: 'Hi' }],
];
const Refusal = z.object({ error: z.object({ message: z.string(), type: z.string(), param: z.string() }) });

let system: ScriptedSystem;
beforeAll(async () => {
  system = await ScriptedSystem.start();
});
afterAll(() => system[Symbol.asyncDispose]());

describe.each(PATHS)('%s', (path, fields, bad, good) => {
  const post = async (body: object) => {
    const response = await fetch(`${system.coordinator.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${system.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: response.status, text: await response.text() };
  };

  test('every field that is looked at has a value that is refused', () => {
    expect(Object.keys(bad).sort()).toEqual(fields.filter((field) => !OURS.has(field)).sort());
  });

  test('is refused by the name of the field, never with the value, while another stream goes on', async () => {
    let open: () => void = () => undefined;
    const refusedAll = new Promise<void>((resolve) => (open = resolve));
    system.plays(async function* (): AsyncGenerator<ChatEvent> {
      yield { type: 'accepted' };
      yield { type: 'started', promptTokens: 1 };
      yield { type: 'text', text: 'One ' };
      await refusedAll;
      yield { type: 'text', text: 'two.' };
      const usage = { promptTokens: 1, completionTokens: 2 };
      yield { type: 'done', finishReason: 'stop', stopSequence: null, usage };
    });
    const client = new OpenAI({ baseURL: system.baseUrl, apiKey: system.apiKey });
    const messages = [{ role: 'user' as const, content: 'Count.' }];
    const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true });
    const asked = system.requests.length;

    for (const [field, value] of Object.entries(bad)) {
      const { status, text } = await post({ model: MODEL, ...good, [field]: value });
      const { error } = Refusal.parse(JSON.parse(text));
      expect([field, status, error.type, error.param]).toEqual([field, 400, 'invalid_request_error', field]);
      expect(error.message).toContain(`'${field}`);
      expect(text).not.toContain(SECRET);
    }
    expect(system.requests.length).toBe(asked);

    open();
    let text = '';
    for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
    expect(text).toBe('One two.');
    expect(auditBooks(system.database).discrepancies).toEqual([]);
  });

  test('a body that is announced as too large is refused before it is sent', async () => {
    const { port } = system.coordinator;
    const headers = { authorization: `Bearer ${system.apiKey}`, 'content-length': String(16 * 1024 * 1024 + 1) };
    const sending = request({ host: '127.0.0.1', port, path, method: 'POST', headers });
    sending.flushHeaders();
    const [response] = (await once(sending, 'response')) as [{ statusCode: number }];
    expect(response.statusCode).toBe(413);
    sending.destroy();
  });
});
