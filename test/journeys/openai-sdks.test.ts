import { once } from 'node:events';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import OpenAI4 from 'openai-4';
import * as parser4 from 'openai-4/lib/parser';
import OpenAI5 from 'openai-5';
import * as parser5 from 'openai-5/lib/parser';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { DarkbloomError, type ErrorCode } from '../../src/errors.js';
import type { ChatEvent, ChatRequest, FinishReason } from '../../src/inference/types.js';
import { eventually } from '../support/eventually.js';
import { MODEL, ScriptedSystem } from '../support/scripted-system.js';

/** The official SDKs, three majors, against one coordinator and one provider on the real wire. */

const HELLO = [{ role: 'user' as const, content: 'Hello!' }];
const PARAMETERS = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const Person = z.object({ name: z.string(), age: z.number() });
/** The older majors' helpers read schemas of zod 3 alone; so they get what the helper makes of one. */
const PERSON = {
  name: 'person',
  strict: true,
  schema: { type: 'object', properties: { name: { type: 'string' }, age: { type: 'number' } } },
};
const CHAT_FORMAT = { type: 'json_schema' as const, json_schema: PERSON };
const TEXT_FORMAT = { type: 'json_schema' as const, ...PERSON };
const readPerson = (content: string) => Person.parse(JSON.parse(content));
const ANN = '{"name":"Ann","age":44}';

interface Sdk {
  OpenAI: typeof OpenAI;
  parse: (client: OpenAI, body: object) => Promise<OpenAI.ChatCompletion>;
  chatFormat: unknown;
  textFormat: unknown;
}
type Parse = { parse: (body: object) => Promise<OpenAI.ChatCompletion> };
// The majors' types differ in what no test here looks at; what they send and read is theirs.
const SDKS: [string, Sdk][] = [
  [
    '6',
    {
      OpenAI,
      parse: (client, body) => (client.chat.completions as unknown as Parse).parse(body),
      chatFormat: zodResponseFormat(Person, 'person'),
      textFormat: zodTextFormat(Person, 'person'),
    },
  ],
  [
    '5',
    {
      OpenAI: OpenAI5 as unknown as typeof OpenAI,
      parse: (client, body) => (client.chat.completions as unknown as Parse).parse(body),
      chatFormat: parser5.makeParseableResponseFormat(CHAT_FORMAT, readPerson),
      textFormat: parser5.makeParseableTextFormat(TEXT_FORMAT, readPerson),
    },
  ],
  [
    '4',
    {
      OpenAI: OpenAI4 as unknown as typeof OpenAI,
      parse: (client, body) =>
        (client as unknown as { beta: { chat: { completions: Parse } } }).beta.chat.completions.parse(body),
      chatFormat: parser4.makeParseableResponseFormat(CHAT_FORMAT, readPerson),
      textFormat: parser4.makeParseableTextFormat(TEXT_FORMAT, readPerson),
    },
  ],
];

let system: ScriptedSystem;
beforeAll(async () => {
  system = await ScriptedSystem.start();
});
beforeEach(() => system.plays(assistant));
afterAll(() => system[Symbol.asyncDispose]());

/** Calls the weather where it may, tells what it was told, and writes JSON or a greeting otherwise. */
function* assistant({ messages, tools, format }: ChatRequest): Generator<ChatEvent> {
  yield { type: 'accepted' };
  yield { type: 'started', promptTokens: 11 };
  const last = messages.at(-1);
  if (last?.role === 'tool') {
    yield* say('It is ', `${last.content}.`);
  } else if (tools.length > 0) {
    yield { type: 'reasoning', text: 'Look it up.' };
    yield { type: 'tool_call', index: 0, id: 'call_1', name: 'weather' };
    yield { type: 'tool_arguments', index: 0, text: '{"city":' };
    yield { type: 'tool_arguments', index: 0, text: '"Rome"}' };
    yield ended('tool_calls');
  } else if (format.type === 'schema') {
    yield* say(ANN.slice(0, 9), ANN.slice(9));
  } else {
    yield* say('Hel', 'lo!');
  }
}

function* say(...pieces: string[]): Generator<ChatEvent> {
  for (const text of pieces) yield { type: 'text', text };
  yield ended('stop');
}

function ended(finishReason: FinishReason): ChatEvent {
  return { type: 'done', finishReason, stopSequence: null, usage: { promptTokens: 11, completionTokens: 5 } };
}

function* breaking(code: ErrorCode, ...before: ChatEvent[]): Generator<ChatEvent> {
  yield* before;
  throw new DarkbloomError(code, 'It did not work.');
}

const BEGUN: ChatEvent[] = [{ type: 'accepted' }, { type: 'started', promptTokens: 11 }, { type: 'text', text: 'Hel' }];

describe.each(SDKS)('openai %s', (major, sdk) => {
  const connect = (options: { apiKey?: string; maxRetries?: number; fetch?: typeof fetch; headers?: object } = {}) =>
    new sdk.OpenAI({
      baseURL: system.baseUrl,
      apiKey: options.apiKey ?? system.apiKey,
      maxRetries: options.maxRetries ?? 0,
      ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
      defaultHeaders: { ...options.headers },
    });
  const ask = (client = connect(), content = 'Hello!') =>
    client.chat.completions.create({ model: MODEL, messages: [{ role: 'user', content }] });

  test('a chat answer, whole and as a stream', async () => {
    const client = connect();
    const whole = await ask(client);
    expect(whole.choices[0]).toEqual({
      index: 0,
      message: { role: 'assistant', content: 'Hello!' },
      finish_reason: 'stop',
    });
    expect(whole.usage).toEqual({ prompt_tokens: 11, completion_tokens: 5, total_tokens: 16 });
    const body = { model: MODEL, messages: HELLO, stream: true, stream_options: { include_usage: true } } as const;
    const pieces: (string | null | undefined)[] = [];
    let usage: object | null | undefined;
    for await (const chunk of await client.chat.completions.create(body)) {
      pieces.push(...chunk.choices.map(({ delta }) => delta.content));
      usage = chunk.usage ?? usage;
    }
    expect(pieces).toEqual(['', 'Hel', 'lo!', undefined]);
    expect(usage).toEqual(whole.usage);
  });

  test('a round trip of a tool, whole and as a stream', async () => {
    const client = connect();
    const tools = [{ type: 'function' as const, function: { name: 'weather', parameters: PARAMETERS } }];
    const request = { model: MODEL, messages: HELLO, tools };
    const call = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } };
    const whole = await client.chat.completions.create(request);
    expect(whole.choices[0]).toEqual({
      index: 0,
      message: {
        role: 'assistant',
        content: '',
        reasoning_content: 'Look it up.',
        reasoning: 'Look it up.',
        tool_calls: [call],
      },
      finish_reason: 'tool_calls',
    });

    const calls: { id: string; name: string; arguments: string }[] = [];
    for await (const { choices } of await client.chat.completions.create({ ...request, stream: true })) {
      for (const { index, id, function: called } of choices[0]?.delta.tool_calls ?? []) {
        calls[index] ??= { id: id ?? '', name: called?.name ?? '', arguments: '' };
        calls[index].arguments += called?.arguments ?? '';
      }
    }
    expect(calls).toEqual([{ id: 'call_1', name: 'weather', arguments: '{"city":"Rome"}' }]);

    const [message] = whole.choices.map((choice) => choice.message);
    const result = { role: 'tool' as const, tool_call_id: 'call_1', content: 'sunny' };
    const messages = [...HELLO, ...(message === undefined ? [] : [message]), result];
    const last = await client.chat.completions.create({ ...request, messages });
    expect(last.choices[0]?.message.content).toBe('It is sunny.');
    expect(system.requests.at(-1)?.messages.slice(1)).toEqual([
      {
        role: 'assistant',
        content: '',
        reasoning: 'Look it up.',
        toolCalls: [{ id: 'call_1', name: 'weather', arguments: '{"city":"Rome"}' }],
      },
      { role: 'tool', content: 'sunny', toolCallId: 'call_1' },
    ]);
  });

  test('an answer in the shape of a schema is parsed by the SDK', async () => {
    const client = connect();
    const parsed = await sdk.parse(client, { model: MODEL, messages: HELLO, response_format: sdk.chatFormat });
    expect(parsed.choices[0]?.message).toMatchObject({ content: ANN, parsed: { name: 'Ann', age: 44 } });
    const format = system.requests.at(-1)?.format;
    expect(format).toMatchObject({ type: 'schema', schema: { properties: { name: { type: 'string' } } } });
    const response = await client.responses.parse({
      model: MODEL,
      input: 'Who?',
      text: { format: sdk.textFormat as never },
    });
    expect(response.output_parsed).toEqual({ name: 'Ann', age: 44 });
    expect(system.requests.at(-1)?.format).toEqual(format);
  });

  test('a response, whole and as a stream, and a round trip of a tool in it', async () => {
    const client = connect();
    const whole = await client.responses.create({ model: MODEL, input: 'Hello!', instructions: 'Be brief.' });
    expect(whole).toMatchObject({ status: 'completed', output_text: 'Hello!', instructions: 'Be brief.' });
    expect(system.requests.at(-1)?.messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello!' },
    ]);
    const stream = client.responses.stream({ model: MODEL, input: 'Hello!' });
    expect(await stream.finalResponse()).toMatchObject({
      output: [{ type: 'message', content: [{ text: 'Hello!' }] }],
      usage: { total_tokens: 16 },
    });

    const tools = [{ type: 'function' as const, name: 'weather', parameters: PARAMETERS, strict: true }];
    const calling = await client.responses.stream({ model: MODEL, input: 'Hello!', tools }).finalResponse();
    expect(calling.output).toMatchObject([
      { type: 'reasoning', summary: [{ text: 'Look it up.' }] },
      { type: 'function_call', call_id: 'call_1', name: 'weather', arguments: '{"city":"Rome"}' },
    ]);
    const input = [
      ...HELLO,
      ...(calling.output as OpenAI.Responses.ResponseInputItem[]),
      { type: 'function_call_output' as const, call_id: 'call_1', output: 'sunny' },
    ];
    const last = await client.responses.create({ model: MODEL, input, tools });
    expect(last.output_text).toBe('It is sunny.');
  });

  test('a completion, whole and as a stream', async () => {
    const client = connect();
    const whole = await client.completions.create({ model: MODEL, prompt: 'Hello!' });
    expect(whole).toMatchObject({ object: 'text_completion', choices: [{ text: 'Hello!', finish_reason: 'stop' }] });
    let text = '';
    for await (const chunk of await client.completions.create({ model: MODEL, prompt: 'Hello!', stream: true })) {
      text += chunk.choices[0]?.text ?? '';
    }
    expect(text).toBe('Hello!');
  });

  test.each<[string, (client: OpenAI) => PromiseLike<AsyncIterable<unknown>>]>([
    ['chat', (client) => client.chat.completions.create({ model: MODEL, messages: HELLO, stream: true })],
    ['completions', (client) => client.completions.create({ model: MODEL, prompt: 'Hello!', stream: true })],
    ['responses', (client) => client.responses.create({ model: MODEL, input: 'Hello!', stream: true })],
  ])('a stream of %s that breaks is an error, and one that is left ends the work', async (_api, open) => {
    system.plays(() => breaking('runner_died', ...BEGUN));
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const event of await open(connect())) seen.push(event);
    })();
    await expect(reading).rejects.toBeInstanceOf(sdk.OpenAI.APIError);
    await expect(reading).rejects.toMatchObject({ message: expect.stringContaining('It did not work.') as string });
    expect(seen.length).toBeGreaterThan(0);

    let left = false;
    system.plays(async function* (_request, signal) {
      yield* BEGUN;
      if (!signal.aborted) await once(signal, 'abort');
      left = true;
      yield { type: 'cancelled', usage: { promptTokens: 11, completionTokens: 1 } };
    });
    for await (const _event of await open(connect())) break;
    await eventually('the machine stops', () => left || undefined);
  });

  test('an aborted request is the error of an abort', async () => {
    const abort = new AbortController();
    system.plays(async function* (_request, signal) {
      yield* BEGUN;
      abort.abort();
      if (!signal.aborted) await once(signal, 'abort');
      yield { type: 'cancelled', usage: { promptTokens: 11, completionTokens: 1 } };
    });
    const asked = connect().chat.completions.create({ model: MODEL, messages: HELLO }, { signal: abort.signal });
    await expect(asked).rejects.toBeInstanceOf(sdk.OpenAI.APIUserAbortError);
  });

  describe('the error classes', () => {
    const { APIError, AuthenticationError, BadRequestError, ConflictError, InternalServerError } = sdk.OpenAI;
    const { NotFoundError, PermissionDeniedError, UnprocessableEntityError } = sdk.OpenAI;
    const played = (code: ErrorCode) => {
      system.plays(() => breaking(code));
      return ask();
    };
    const key = (settings: object) =>
      system.coordinator.accounts.keys.create(system.coordinator.owner.id, { name: 'other', ...settings }).secret;

    test.each<[string, new (...args: never[]) => Error, object, () => PromiseLike<unknown>]>([
      ['a wrong key', AuthenticationError, { status: 401 }, () => ask(connect({ apiKey: 'sk-db-wrong' }))],
      [
        'a key for another model',
        PermissionDeniedError,
        { status: 403, code: 'model_not_allowed', param: 'model' },
        () => ask(connect({ apiKey: key({ allowed_models: ['other'] }) })),
      ],
      [
        'an unknown model',
        NotFoundError,
        { status: 404, code: 'model_not_found', param: 'model' },
        () => connect().chat.completions.create({ model: 'nope', messages: HELLO }),
      ],
      [
        'a response that was never kept',
        NotFoundError,
        { status: 404, type: 'invalid_request_error' },
        () => connect().responses.retrieve('resp_1'),
      ],
      [
        'a bad field of chat',
        BadRequestError,
        { status: 400, param: 'temperature' },
        () => connect().chat.completions.create({ model: MODEL, messages: HELLO, temperature: 9 }),
      ],
      [
        'a bad field of a response',
        BadRequestError,
        { status: 400, param: 'previous_response_id' },
        () => connect().responses.create({ model: MODEL, input: 'Hi', previous_response_id: 'resp_1' }),
      ],
      [
        'a bad field of a completion',
        BadRequestError,
        { status: 400, param: 'echo' },
        () => connect().completions.create({ model: MODEL, prompt: 'Hi', echo: true }),
      ],
      [
        'a schema that the machine cannot follow',
        UnprocessableEntityError,
        { status: 422, type: 'invalid_request_error' },
        () => played('unprocessable'),
      ],
      [
        'a fault of the machine',
        InternalServerError,
        { status: 500, type: 'provider_error' },
        () => played('internal'),
      ],
      ['a machine whose runner ended', InternalServerError, { status: 503 }, () => played('runner_died')],
      [
        'a prompt that is too long',
        BadRequestError,
        { status: 400, code: 'context_length_exceeded', param: 'messages' },
        () => played('context_length_exceeded'),
      ],
    ])('%s', async (_what, errorClass, facts, asked) => {
      const error: unknown = await Promise.resolve(asked()).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(errorClass);
      expect(error).toBeInstanceOf(APIError);
      expect(error).toMatchObject(facts);
    });

    test('what cannot get better is not tried again', async () => {
      const { accounts } = system.coordinator;
      const stranger = accounts.add(`stranger-${major}`, { acceptUnattested: false });
      const apiKey = accounts.keys.create(stranger.id, { name: 'stranger' }).secret;
      let sent = 0;
      const counted: typeof fetch = (...args) => {
        sent++;
        return fetch(...args);
      };
      const alone = connect({ apiKey, maxRetries: 2, fetch: counted, headers: { 'x-darkbloom-route': 'self' } });
      await expect(ask(alone)).rejects.toBeInstanceOf(ConflictError);
      expect(sent).toBe(1);
      const poor = connect({ apiKey, maxRetries: 2, fetch: counted });
      await expect(ask(poor)).rejects.toMatchObject({ status: 402, code: 'insufficient_quota' });
      expect(sent).toBe(2);
    });
  });
});

// Last, and all at once: a machine that was full gets no request before its next heartbeat.
test('all majors raise a full machine as a rate limit', async () => {
  system.plays(() => breaking('over_capacity'));
  const asked = await Promise.allSettled(
    SDKS.map(([, { OpenAI: Client }]) =>
      new Client({ baseURL: system.baseUrl, apiKey: system.apiKey, maxRetries: 0 }).chat.completions.create({
        model: MODEL,
        messages: HELLO,
      }),
    ),
  );
  for (const [index, [, { OpenAI: Client }]] of SDKS.entries()) {
    const { reason } = asked[index] as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(Client.RateLimitError);
    expect(reason).toMatchObject({ status: 429, type: 'rate_limit_exceeded' });
  }
});
