import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import Anthropic039 from 'anthropic-sdk-0-39';
import Anthropic071 from 'anthropic-sdk-0-71';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import OpenAI4 from 'openai-4';
import OpenAI5 from 'openai-5';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { sampled } from '../support/costly.js';
import { familyModel, toolModel } from '../support/made-models.js';
import { RunningDaemon } from '../support/running-daemon.js';

/** Tools and schemas the whole way: SDK, coordinator, sealed wire, daemon, runner, and a model that utters calls. */

const CALLS_TWICE =
  'Let me see.[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}} , {"name":"stop","arguments":{}}]';

let running: RunningDaemon;
beforeAll(async () => {
  const files = { once: toolModel(), twice: familyModel('mistral-twice', 'mistral', ['--say', CALLS_TWICE]) };
  running = await RunningDaemon.start({ 'models.files': files });
});
afterAll(() => running[Symbol.asyncDispose]());

const PARAMETERS = {
  type: 'object' as const,
  properties: { city: { type: 'string', enum: ['Paris', 'Rome'] } },
  required: ['city'],
  additionalProperties: false,
};
const STOP_PARAMETERS = { type: 'object' as const, properties: {}, additionalProperties: false };
const QUESTION = { role: 'user' as const, content: 'How is the weather?' };
const PARIS = { name: 'get_weather', input: { city: 'Paris' } };
const ANSWER = 'It is sunny there.';
const Report = z.object({ fine: z.literal(true), sky: z.enum(['blue', 'grey']), day: z.iso.date() });

// The majors' types differ in what no test here looks at; what they send and read is theirs.
const OPENAI: [string, typeof OpenAI][] = [
  ['6', OpenAI],
  ['5', OpenAI5 as unknown as typeof OpenAI],
  ['4', OpenAI4 as unknown as typeof OpenAI],
];
const ANTHROPIC: [string, typeof Anthropic][] = [
  ['current', Anthropic],
  ['0.71', Anthropic071 as unknown as typeof Anthropic],
  ['0.39', Anthropic039 as unknown as typeof Anthropic],
];
const WAYS = ['whole', 'streamed'] as const;

describe.each(sampled(OPENAI.flatMap(([version, Sdk]) => WAYS.map((way) => ({ version, way, Sdk })))))(
  'openai $version, $way',
  ({ way, Sdk }) => {
    const client = () => new Sdk({ baseURL: running.baseUrl, apiKey: running.ownerKey, maxRetries: 0 });
    const tools: OpenAI.ChatCompletionFunctionTool[] = [
      { type: 'function', function: { name: 'get_weather', description: 'Of a town', parameters: PARAMETERS } },
      { type: 'function', function: { name: 'stop', parameters: STOP_PARAMETERS } },
    ];
    /** The one message of an answer, put together from its pieces where it is streamed. */
    const ask = async (body: Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, 'model'>, model = 'once') => {
      const all = { model, tools, temperature: 0, max_tokens: 200, ...body };
      if (way === 'whole') return (await client().chat.completions.create({ ...all, stream: false })).choices[0];
      let content = '';
      let finish_reason: string | null = null;
      const calls: { id: string; type: 'function'; function: { name: string; arguments: string } }[] = [];
      for await (const { choices } of await client().chat.completions.create({ ...all, stream: true })) {
        const [choice] = choices;
        content += choice?.delta.content ?? '';
        finish_reason = choice?.finish_reason ?? finish_reason;
        for (const { index, id = '', function: called } of choice?.delta.tool_calls ?? []) {
          calls[index] ??= { id, type: 'function', function: { name: called?.name ?? '', arguments: '' } };
          calls[index].function.arguments += called?.arguments ?? '';
        }
      }
      const tool_calls = calls.length === 0 ? undefined : calls;
      return { message: { role: 'assistant' as const, content, tool_calls }, finish_reason };
    };
    const callsOf = (answer: Awaited<ReturnType<typeof ask>>) =>
      (answer?.message.tool_calls ?? []).map((call) => {
        const { name, arguments: text } = (call as OpenAI.ChatCompletionMessageFunctionToolCall).function;
        return { name, input: JSON.parse(text) as unknown };
      });

    test('a tool is called, and its result leads to the answer', async () => {
      const calling = await ask({ messages: [QUESTION] });
      expect(calling).toMatchObject({ message: { content: 'Let me see.' }, finish_reason: 'tool_calls' });
      expect(callsOf(calling)).toEqual([PARIS]);
      const [call] = calling?.message.tool_calls ?? [];
      expect(call?.id).toMatch(/^call_[0-9a-f]{24}$/u);
      const messages = [
        QUESTION,
        calling?.message as OpenAI.ChatCompletionMessageParam,
        {
          role: 'tool' as const,
          tool_call_id: call?.id ?? '',
          content: [{ type: 'text' as const, text: '20 degrees' }],
        },
      ];
      expect(await ask({ messages })).toMatchObject({ message: { content: ANSWER }, finish_reason: 'stop' });
    });

    test('a call can be asked for, forbidden, named, and made beside another one', async () => {
      const required = await ask({ messages: [QUESTION], tool_choice: 'required', parallel_tool_calls: false });
      expect(required).toMatchObject({ message: { content: '' }, finish_reason: 'tool_calls' });
      expect(callsOf(required)).toEqual([PARIS]);
      const named = { type: 'function' as const, function: { name: 'stop' } };
      const stopped = await ask({ messages: [QUESTION], tool_choice: named, parallel_tool_calls: false });
      expect(callsOf(stopped)).toEqual([{ name: 'stop', input: {} }]);
      const none = await ask({ messages: [QUESTION], tool_choice: 'none' });
      expect(none).toMatchObject({ finish_reason: 'stop' });
      expect(callsOf(none)).toEqual([]);
      expect(callsOf(await ask({ messages: [QUESTION] }, 'twice'))).toEqual([PARIS, { name: 'stop', input: {} }]);
      expect(callsOf(await ask({ messages: [QUESTION], parallel_tool_calls: false }, 'twice'))).toEqual([PARIS]);
    });

    test('an answer in a format is of its schema', async () => {
      const response_format = zodResponseFormat(Report, 'report');
      const answer = await ask({ messages: [QUESTION], tool_choice: 'none', response_format });
      expect(answer?.finish_reason).toBe('stop');
      expect(Report.safeParse(JSON.parse(answer?.message.content ?? '')).success).toBe(true);
    });

    test('the Responses API has the same round trip', async () => {
      const flat = tools.map(({ type, function: called }) => ({ type, strict: false, parameters: null, ...called }));
      const respond = async (body: object): Promise<OpenAI.Responses.Response> => {
        const all = { model: 'once', tools: flat, temperature: 0, max_output_tokens: 200, input: [QUESTION], ...body };
        if (way === 'whole') return client().responses.create({ ...all, stream: false });
        return client().responses.stream(all).finalResponse();
      };
      const calling = await respond({});
      expect(calling.output).toMatchObject([
        { type: 'message', content: [{ text: 'Let me see.' }] },
        { type: 'function_call', name: 'get_weather', arguments: '{"city":"Paris"}' },
      ]);
      const call_id = calling.output.map((item) => (item.type === 'function_call' ? item.call_id : '')).join('');
      const result = { type: 'function_call_output', call_id, output: '20 degrees' };
      const answer = await respond({ input: [QUESTION, ...calling.output, result] });
      expect(answer).toMatchObject({ status: 'completed', output: [{ content: [{ text: ANSWER }] }] });
    });
  },
);

test("OpenAI's own helpers parse an answer, and run the tools themselves", async () => {
  const client = new OpenAI({ baseURL: running.baseUrl, apiKey: running.ownerKey, maxRetries: 0 });
  const plain = { model: 'once', temperature: 0, max_tokens: 200 };
  const parsed = await client.chat.completions.parse({
    ...plain,
    messages: [QUESTION],
    response_format: zodResponseFormat(Report, 'report'),
  });
  expect(Report.safeParse(parsed.choices[0]?.message.parsed).success).toBe(true);
  const response = await client.responses.parse({
    model: 'once',
    input: 'Well?',
    text: { format: zodTextFormat(Report, 'report') },
  });
  expect(Report.safeParse(response.output_parsed).success).toBe(true);
  const asked: unknown[] = [];
  const runner = client.chat.completions.runTools({
    ...plain,
    messages: [QUESTION],
    tools: [
      {
        type: 'function',
        function: {
          name: 'get_weather',
          description: 'Of a town',
          parameters: PARAMETERS,
          parse: JSON.parse,
          function: (input: unknown) => String(asked.push(input)),
        },
      },
    ],
  });
  expect(await runner.finalContent()).toBe(ANSWER);
  expect(asked).toEqual([PARIS.input]);
});

describe.each(sampled(ANTHROPIC.flatMap(([version, Sdk]) => WAYS.map((way) => ({ version, way, Sdk })))))(
  'anthropic $version, $way',
  ({ way, Sdk }) => {
    const tools: Anthropic.Tool[] = [
      { name: 'get_weather', description: 'Of a town', input_schema: PARAMETERS },
      { name: 'stop', input_schema: STOP_PARAMETERS },
    ];
    const ask = (body: object, model = 'once') => {
      const { messages } = new Sdk({ baseURL: running.url, apiKey: running.ownerKey, maxRetries: 0 });
      const all = { model, tools, max_tokens: 200, temperature: 0, messages: [QUESTION], ...body };
      return way === 'whole' ? messages.create({ ...all, stream: false }) : messages.stream(all).finalMessage();
    };
    const callsOf = ({ content }: Anthropic.Message) =>
      content.flatMap((block) => (block.type === 'tool_use' ? [{ name: block.name, input: block.input }] : []));

    test('a tool is called, and its result leads to the answer', async () => {
      const calling = await ask({});
      expect(calling).toMatchObject({
        stop_reason: 'tool_use',
        content: [
          { type: 'text', text: 'Let me see.' },
          { type: 'tool_use', id: expect.stringMatching(/^toolu_[0-9a-f]{24}$/u) as string, ...PARIS },
        ],
      });
      const results = calling.content.flatMap((block) =>
        block.type === 'tool_use' ? [{ type: 'tool_result', tool_use_id: block.id, content: '20 degrees' }] : [],
      );
      const messages = [QUESTION, { role: 'assistant', content: calling.content }, { role: 'user', content: results }];
      const answer = await ask({ messages });
      expect(answer).toMatchObject({ stop_reason: 'end_turn', content: [{ type: 'text', text: ANSWER }] });
    });

    test('a call can be asked for, forbidden, named, and made beside another one', async () => {
      const one = { disable_parallel_tool_use: true };
      const any = await ask({ tool_choice: { type: 'any', ...one } });
      expect(any).toMatchObject({ stop_reason: 'tool_use', content: [{ type: 'tool_use', ...PARIS }] });
      const named = await ask({ tool_choice: { type: 'tool', name: 'stop', ...one } });
      expect(callsOf(named)).toEqual([{ name: 'stop', input: {} }]);
      expect(await ask({ tool_choice: { type: 'none' } })).toMatchObject({ stop_reason: 'end_turn' });
      expect(callsOf(await ask({}, 'twice'))).toEqual([PARIS, { name: 'stop', input: {} }]);
      expect(callsOf(await ask({ tool_choice: { type: 'auto', ...one } }, 'twice'))).toEqual([PARIS]);
    });

    test('an answer in a format is of its schema', async () => {
      const format = { type: 'json_schema', schema: z.toJSONSchema(Report) };
      const { content } = await ask({ tools: [], output_config: { format } });
      const text = content.map((block) => (block.type === 'text' ? block.text : '')).join('');
      expect(Report.safeParse(JSON.parse(text)).success).toBe(true);
    });
  },
);

test.each(ANTHROPIC)('anthropic %s does not try again what cannot get better', async (_version, Sdk) => {
  let sent = 0;
  const counted: typeof fetch = (...request) => {
    sent++;
    return fetch(...request);
  };
  const asked = async (apiKey: string, headers: Record<string, string> = {}, maxRetries = 2) => {
    const client = new Sdk({ baseURL: running.url, apiKey, maxRetries, fetch: counted, defaultHeaders: headers });
    sent = 0;
    return client.messages.create({ model: 'once', max_tokens: 9, messages: [QUESTION] }).then(
      () => undefined,
      (error: unknown) => error,
    );
  };
  const stranger = await running.addAccount({ usd: 0, acceptUnattested: false });
  const alone = await asked(stranger.key, { 'x-darkbloom-route': 'self' });
  expect([sent, alone instanceof Sdk.ConflictError]).toEqual([1, true]);
  expect(alone).toMatchObject({ error: { error: { type: 'invalid_request_error', code: 'no_linked_machine' } } });
  const poor = await asked(stranger.key);
  expect([sent, poor instanceof Sdk.APIError]).toEqual([1, true]);
  expect(poor).toMatchObject({ status: 402, error: { error: { type: 'billing_error' } } });
  const body = { name: 'narrow', allowed_models: ['other'] };
  const narrow = (await running.call('POST', '/v1/keys', { token: running.ownerToken, body })).json as { key: string };
  const forbidden = await asked(narrow.key);
  expect([sent, forbidden instanceof Sdk.PermissionDeniedError]).toEqual([1, true]);
  expect(forbidden).toMatchObject({ error: { error: { type: 'permission_error', param: 'model' } } });
});

test('the list of models says what each can be asked for, and that is so', async () => {
  const { data } = (await running.call('GET', '/v1/models', { token: running.ownerKey })).json as {
    data: { id: string; supported_features: string[] }[];
  };
  const features = Object.fromEntries(data.map((model) => [model.id, model.supported_features]));
  const every = ['json_mode', 'logprobs', 'structured_outputs', 'tools'];
  expect(features).toEqual({ 'darkbloom-tiny-chat': every, once: every, twice: every });
  const client = new OpenAI({ baseURL: running.baseUrl, apiKey: running.ownerKey, maxRetries: 0 });
  // the smallest one's template knows no tools; asked for a call, it makes one all the same
  const { choices } = await client.chat.completions.create({
    model: 'darkbloom-tiny-chat',
    messages: [QUESTION],
    tools: [{ type: 'function', function: { name: 'get_weather', parameters: PARAMETERS } }],
    tool_choice: 'required',
    parallel_tool_calls: false,
    max_tokens: 200,
  });
  expect(choices[0]).toMatchObject({
    finish_reason: 'tool_calls',
    message: { tool_calls: [{ function: { name: 'get_weather' } }] },
  });
});

test("Anthropic's own helpers parse an answer, and run the tools themselves", async () => {
  const client = new Anthropic({ baseURL: running.url, apiKey: running.ownerKey, maxRetries: 0 });
  const plain = { model: 'once', max_tokens: 200, messages: [QUESTION] };
  const parsed = await client.messages.parse({ ...plain, output_config: { format: zodOutputFormat(Report) } });
  expect(Report.safeParse(parsed.parsed_output).success).toBe(true);
  const asked: unknown[] = [];
  const getWeather = betaZodTool({
    name: 'get_weather',
    description: 'Of a town',
    inputSchema: z.object({ city: z.enum(['Paris', 'Rome']) }),
    run: (input) => String(asked.push(input)),
  });
  const last = await client.beta.messages.toolRunner({ ...plain, tools: [getWeather] });
  expect(last.content).toMatchObject([{ type: 'text', text: ANSWER }]);
  expect(asked).toEqual([PARIS.input]);
});
