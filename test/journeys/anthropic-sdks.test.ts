import Anthropic from '@anthropic-ai/sdk';
import Anthropic039 from 'anthropic-sdk-0-39';
import Anthropic071 from 'anthropic-sdk-0-71';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DarkbloomError, type ErrorCode } from '../../src/errors.js';
import type { ContentEvent } from '../../src/inference/types.js';
import { ScriptedGenerator } from '../support/scripted-generators.js';
import { MODEL as model, ScriptedSystem } from '../support/scripted-system.js';

/** The official SDKs against the real coordinator and the real wire; what the model says is written here. */

let system: ScriptedSystem;
beforeAll(async () => {
  system = await ScriptedSystem.start();
});
afterAll(() => system[Symbol.asyncDispose]());

/** The versions send the key as `X-Api-Key` or as a bearer; `/v1` in the base URL is doubled by all. */
type Connect = (options: { baseURL: string; apiKey: string; maxRetries: number }) => Pick<Anthropic, 'messages'>;
const VERSIONS: [string, Connect, Pick<typeof Anthropic, 'APIError'>][] = [
  ['0.39', (options) => new Anthropic039(options) as unknown as Anthropic, Anthropic039 as never],
  ['0.71', (options) => new Anthropic071(options) as unknown as Anthropic, Anthropic071 as never],
  ['current', (options) => new Anthropic(options), Anthropic],
];
const WAYS = ['whole', 'streamed'] as const;
const CASES = VERSIONS.flatMap(([version, connect]) => WAYS.map((way) => ({ version, way, connect })));

const clientOf = (connect: Connect, apiKey = system.apiKey) =>
  connect({ baseURL: system.baseUrl, apiKey, maxRetries: 0 });
const ask = (connect: Connect, way: (typeof WAYS)[number], params: Omit<Anthropic.MessageCreateParams, 'model'>) => {
  const { messages } = clientOf(connect);
  const body = { model, ...params, stream: false as const };
  return way === 'whole' ? messages.create(body) : messages.stream(body).finalMessage();
};

const question = { role: 'user' as const, content: 'How warm is it in Oslo?' };
const TOOLS: Anthropic.Tool[] = [
  {
    name: 'weather',
    description: 'Of a town',
    input_schema: { type: 'object', properties: { town: { type: 'string' } } },
  },
];
const CALLS: ContentEvent[] = [
  { type: 'text', text: 'Let me ' },
  { type: 'text', text: 'see.' },
  { type: 'tool_call', index: 0, id: 'call_a1', name: 'weather' },
  { type: 'tool_arguments', index: 0, text: '{"town":' },
  { type: 'tool_arguments', index: 0, text: '"Oslo"}' },
  { type: 'tool_call', index: 1, id: 'call_b2', name: 'weather' },
];

test.each(CASES)('SDK $version, $way: tools are called, and their results read', async ({ connect, way }) => {
  const calling = system.play(new ScriptedGenerator({ events: CALLS, finishReason: 'tool_calls' }));
  const tool_choice = { type: 'auto' as const, disable_parallel_tool_use: false };
  const message = await ask(connect, way, { max_tokens: 100, tools: TOOLS, tool_choice, messages: [question] });
  expect(message).toMatchObject({ stop_reason: 'tool_use', usage: { input_tokens: 11, output_tokens: 6 } });
  expect(message.content).toMatchObject([
    { type: 'text', text: 'Let me see.' },
    { type: 'tool_use', id: 'toolu_a1', name: 'weather', input: { town: 'Oslo' } },
    { type: 'tool_use', id: 'toolu_b2', name: 'weather', input: {} },
  ]);
  expect(calling.requests).toMatchObject([
    { toolChoice: 'auto', parallelToolCalls: true, tools: [{ name: 'weather', parameters: TOOLS[0]?.input_schema }] },
  ]);

  const answering = system.play(new ScriptedGenerator({ says: ['Warm.'] }));
  const results: Anthropic.ToolResultBlockParam[] = [
    { type: 'tool_result', tool_use_id: 'toolu_a1', content: [{ type: 'text', text: '20' }] },
    { type: 'tool_result', tool_use_id: 'toolu_b2', content: 'which town?', is_error: true },
  ];
  const conversation: Anthropic.MessageParam[] = [
    question,
    { role: 'assistant', content: message.content },
    { role: 'user', content: results },
  ];
  const answer = await ask(connect, way, { max_tokens: 100, tools: TOOLS, messages: conversation });
  expect(answer).toMatchObject({ stop_reason: 'end_turn', content: [{ type: 'text', text: 'Warm.' }] });
  expect(answering.requests[0]?.messages).toEqual([
    question,
    {
      role: 'assistant',
      content: 'Let me see.',
      toolCalls: [
        { id: 'toolu_a1', name: 'weather', arguments: '{"town":"Oslo"}' },
        { id: 'toolu_b2', name: 'weather', arguments: '{}' },
      ],
    },
    { role: 'tool', toolCallId: 'toolu_a1', content: '20' },
    { role: 'tool', toolCallId: 'toolu_b2', content: 'Error: which town?' },
  ]);
});

const THOUGHTS: ContentEvent[] = [
  { type: 'reasoning', text: 'It is ' },
  { type: 'reasoning', text: 'warm.' },
  { type: 'text', text: 'Warm.' },
];

test.each(CASES)('SDK $version, $way: thoughts are shown who asks, and sent back', async ({ connect, way }) => {
  const thinking = system.play(new ScriptedGenerator({ events: THOUGHTS }));
  const config = { type: 'enabled' as const, budget_tokens: 1_024 };
  const shown = await ask(connect, way, { max_tokens: 2_000, thinking: config, messages: [question] });
  expect(shown.content).toMatchObject([
    { type: 'thinking', thinking: 'It is warm.', signature: expect.stringMatching(/^unsigned-/u) as string },
    { type: 'text', text: 'Warm.' },
  ]);
  expect(thinking.requests[0]?.templateArguments).toEqual({ enable_thinking: true, thinking_budget: 1_024 });

  const again = system.play(new ScriptedGenerator({ events: THOUGHTS }));
  const messages = [question, { role: 'assistant' as const, content: shown.content }, question];
  const hidden = await ask(connect, way, { max_tokens: 2_000, messages });
  expect(hidden.content).toMatchObject([{ type: 'text', text: 'Warm.' }]);
  expect(again.requests[0]).toMatchObject({
    templateArguments: { enable_thinking: false },
    messages: [question, { content: 'Warm.', reasoning: 'It is warm.' }, question],
  });
});

describe.each(VERSIONS)('SDK %s', (_version, connect, { APIError }) => {
  const plain = { model, max_tokens: 50, messages: [question] };

  test('counts tokens, of tools and of a system text too', async () => {
    const counting = system.play(new ScriptedGenerator({ result: { op: 'count', promptTokens: 42 } }));
    const { messages } = clientOf(connect);
    expect(await messages.countTokens({ model, system: 'Be', tools: TOOLS, messages: [question] })).toEqual({
      input_tokens: 42,
    });
    expect(counting.operations).toMatchObject([
      { op: 'count', request: { owner: true, messages: [{ content: 'Be' }, question], tools: [{ name: 'weather' }] } },
    ]);
  });

  test('that aborts a stream ends the generation', async () => {
    const hanging = system.play(new ScriptedGenerator({ says: ['Hel'], hangs: true }));
    const stream = clientOf(connect).messages.stream(plain);
    stream.on('text', () => stream.abort());
    await expect(stream.finalMessage()).rejects.toThrow(/abort/iu);
    await hanging.cancelled;
  });

  test('raises what breaks a stream', async () => {
    system.play(new ScriptedGenerator({ says: ['Hel'], breaksWith: new DarkbloomError('runner_died', 'It ended.') }));
    const stream = clientOf(connect).messages.stream(plain);
    const broken = expect(stream.finalMessage()).rejects;
    await broken.toThrow(/It ended/u);
    expect(stream.errored).toBe(true);
  });

  test('reads the id of a request from its header', async () => {
    system.play(new ScriptedGenerator({ says: ['Hi'] }));
    const { response } = await clientOf(connect).messages.create(plain).withResponse();
    expect(response.headers.get('request-id')).toMatch(/^[0-9a-f]{12}$/u);
  });

  test.each<[ErrorCode, number, string, string]>([
    ['invalid_request', 400, 'BadRequestError', 'invalid_request_error'],
    ['context_length_exceeded', 400, 'BadRequestError', 'invalid_request_error'],
    ['unprocessable', 422, 'UnprocessableEntityError', 'invalid_request_error'],
    ['internal', 500, 'InternalServerError', 'api_error'],
    ['draining', 503, 'InternalServerError|ServiceUnavailableError', 'overloaded_error'],
  ])('raises %s as what its status and type say', async (code, status, name, type) => {
    system.play(new ScriptedGenerator({ breaksWith: new DarkbloomError(code, 'What it says.') }));
    const error: unknown = await clientOf(connect)
      .messages.create(plain)
      .then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ status, error: { type: 'error', error: { type, message: 'What it says.' } } });
    expect(name.split('|')).toContain((error as object).constructor.name);
  });

  test('raises a wrong key, an unknown model, and a body that is wrong', async () => {
    const raised = async (params: object, apiKey?: string): Promise<unknown> =>
      clientOf(connect, apiKey)
        .messages.create({ ...plain, ...params })
        .then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
    expect(await raised({}, 'sk-db-wrong')).toMatchObject({
      status: 401,
      error: { error: { type: 'authentication_error' } },
    });
    expect(await raised({ model: 'no-such' })).toMatchObject({
      status: 404,
      error: { error: { type: 'not_found_error', code: 'model_not_found', param: 'model' } },
    });
    expect(await raised({ temperature: 3 })).toMatchObject({
      status: 400,
      error: { error: { type: 'invalid_request_error', param: 'temperature' } },
    });
  });
});

test('a machine that does not know an operation is told of, not guessed for', async () => {
  system.play(new ScriptedGenerator({ breaksWith: new DarkbloomError('unsupported', 'chat only') }));
  const { messages } = clientOf((options) => new Anthropic(options));
  await expect(messages.countTokens({ model, messages: [question] })).rejects.toMatchObject({
    status: 501,
    error: {
      error: { type: 'api_error', code: 'provider_error', message: 'chat only' },
    },
  });
});

// Last, and all at once: a machine that was full gets no request before its next heartbeat.
test('all SDKs raise a full machine as a rate limit', async () => {
  system.play(new ScriptedGenerator({ breaksWith: new DarkbloomError('over_capacity', 'What it says.') }));
  const raised = await Promise.allSettled(
    VERSIONS.map(([, connect]) => clientOf(connect).messages.create({ model, max_tokens: 50, messages: [question] })),
  );
  const error = { type: 'error', error: { type: 'rate_limit_error', message: 'What it says.' } };
  for (const [index, [, , { APIError }]] of VERSIONS.entries()) {
    const { reason } = raised[index] as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(APIError);
    expect(reason).toMatchObject({ status: 429, error });
    expect((reason as object).constructor.name).toBe('RateLimitError');
  }
});
