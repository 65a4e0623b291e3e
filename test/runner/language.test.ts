import { afterEach, describe, expect, test } from 'vitest';
import { GREEDY, PLAIN, type Tool } from '../../src/inference/types.js';
import { openRuntime } from '../../src/runner/llama-runtime.js';
import type { Runtime } from '../../src/runner/runtime.js';
import { Sequences } from '../../src/runner/sequences.js';
import type { GenerateOrder, RequestMessage } from '../../src/runner-protocol/messages.js';
import { familyModel, loopModel, madeModel } from '../support/made-models.js';
import type { Family } from '../support/templates.js';

/** Models that utter each family's syntax token by token, through the real runtime and the runner's loop. */

let runtime: Runtime | undefined;
afterEach(async () => {
  await runtime?.close();
  runtime = undefined;
});

const WEATHER: Tool = {
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { enum: ['Paris', 'Rome'] } }, required: ['city'] },
};
const STOP: Tool = { name: 'stop', parameters: { type: 'object', properties: {}, additionalProperties: false } };

async function open(modelPath: string, contextTokens = 1_024, rows = 1): Promise<Runtime> {
  runtime = await openRuntime({ type: 'load', modelPath, threads: 1, rows, contextTokens }, () => undefined);
  return runtime;
}

interface Answer {
  text: string;
  reasoning: string;
  calls: { name: string; arguments: string }[];
  end: RequestMessage | undefined;
}

/** All that one request brings. */
async function ask(model: Runtime, extra: Partial<GenerateOrder>): Promise<Answer> {
  const answer: Answer = { text: '', reasoning: '', calls: [], end: undefined };
  await new Promise<void>((resolve) => {
    const sequences = new Sequences(model, undefined, (messages) => {
      for (const message of messages) {
        if (message.type === 'text' || message.type === 'reasoning') answer[message.type] += message.text;
        if (message.type === 'tool_call') answer.calls.push({ name: message.name, arguments: '' });
        if (message.type === 'tool_arguments') {
          const call = answer.calls[message.index];
          if (call !== undefined) call.arguments += message.text;
        }
        if (message.type === 'done' || message.type === 'failed') {
          answer.end = message;
          resolve();
        } else if (message.type !== 'started') sequences.acknowledge(message.id, 1);
      }
    });
    sequences.start(orderOf(1, extra));
  });
  return answer;
}

function orderOf(id: number, extra: Partial<GenerateOrder>): GenerateOrder {
  const messages = [{ role: 'user' as const, content: 'go' }];
  return { type: 'generate', id, messages, sampling: GREEDY, stop: [], ...PLAIN, tools: [WEATHER, STOP], ...extra };
}

const PARIS = { name: 'get_weather', arguments: '{"city":"Paris"}' };
const HALT = { name: 'stop', arguments: '{}' };

/** What each family's model says, every word another, and what its answer is read as. */
const SAID: [family: Family, say: string, answer: Partial<Omit<Answer, 'end'>>][] = [
  ['chatml', '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>', { calls: [PARIS] }],
  ['hermes', '<think>\nHm, well.</think> Let me see.<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>', { reasoning: 'Hm, well.', text: 'Let me see.', calls: [PARIS] }],
  ['qwen-coder', 'Hm, well.</think> Let me see.<tool_call><function=get_weather> <parameter=city>\nParis\n</parameter></function></tool_call>', { reasoning: 'Hm, well.', text: 'Let me see.', calls: [PARIS] }],
  ['llama', '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}', { calls: [PARIS] }],
  ['mistral', 'Let me see.[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name":"stop","arguments":{}}]', { text: 'Let me see.', calls: [PARIS] }],
  ['mistral-named', '[THINK]Hm, well.[/THINK][TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}', { reasoning: 'Hm, well.', calls: [PARIS] }],
  ['mistral-numbered', '[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city": "Paris"}', { calls: [PARIS] }],
  ['gemma3', 'Sure: ```json\n{"name": "get_weather", "parameters": {"city": "Paris"}}\n```', { text: 'Sure:', calls: [PARIS] }],
  ['gemma4', '<|channel>thought\nHm, well.<channel|>Let me see.<|tool_call>call:get_weather{ please', { reasoning: 'Hm, well.', text: 'Let me see.', calls: [PARIS] }],
  ['functiongemma', 'Let me see.<start_function_call>call:get_weather{ please', { text: 'Let me see.', calls: [PARIS] }],
  ['harmony', '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>please', { calls: [PARIS] }],
  ['deepseek', '<think>Hm, well.</think>Let me see.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>', { reasoning: 'Hm, well.', text: 'Let me see.', calls: [PARIS] }],
  ['deepseek-fenced', '<think>Hm, well.</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json {"city": "Paris"} ``` <｜tool▁call▁end｜><｜tool▁calls▁end｜>', { reasoning: 'Hm, well.', calls: [PARIS] }],
]; // prettier-ignore

describe.each(SAID)('a model of the family %s', (family, say, said) => {
  test('calls what it likes, what it must, and answers in a format', async () => {
    const model = await open(familyModel(family, family, ['--say', say]));

    const free = await ask(model, family === 'gemma4' ? { templateArguments: { enable_thinking: true } } : {});
    expect(free).toMatchObject({ text: '', reasoning: '', ...said, end: { type: 'done', finishReason: 'tool_calls' } });
    const thoughtTokens = free.end?.type === 'done' ? free.end.reasoningTokens : undefined;
    if (said.reasoning === undefined) expect(thoughtTokens).toBe(0);
    else expect(thoughtTokens).toBeGreaterThan(0);

    const without = await ask(model, { toolChoice: 'none', maxTokens: 60 });
    expect(without.calls).toEqual([]);

    const one = await ask(model, { toolChoice: 'required', parallelToolCalls: false, maxTokens: 200 });
    expect(one.end).toMatchObject({ type: 'done', finishReason: 'tool_calls' });
    expect([PARIS, { ...PARIS, arguments: '{"city":"Rome"}' }, HALT]).toContainEqual(one.calls[0]);
    expect(one.calls).toHaveLength(1);

    const named = await ask(model, { toolChoice: { name: 'stop' }, parallelToolCalls: false, maxTokens: 200 });
    expect(named).toMatchObject({ calls: [HALT], text: '', end: { type: 'done', finishReason: 'tool_calls' } });

    if (family !== 'harmony') await expectFormat(model); // that one would think for ever: it has no other words
  });
});

async function expectFormat(model: Runtime): Promise<void> {
  const schema = { type: 'object', properties: { ok: { const: true } }, required: ['ok'], additionalProperties: false };
  const { text, end } = await ask(model, { tools: [], format: { type: 'schema', schema }, maxTokens: 200 });
  expect(end).toMatchObject({ type: 'done', finishReason: 'stop' });
  expect(JSON.parse(text)).toEqual({ ok: true });
}

test('a model of the family harmony answers in a format in its final channel', async () => {
  const say = '<|channel|>final<|message|>please';
  await expectFormat(await open(familyModel('harmony-final', 'harmony', ['--say', say])));
});

test('a model of the family harmony thinks in its channel', async () => {
  const say = '<|channel|>analysis<|message|>Hm, well.<|end|>';
  const model = await open(familyModel('harmony-thought', 'harmony', ['--say', say]));
  expect(await ask(model, {})).toMatchObject({ reasoning: 'Hm, well.', calls: [] });
});

test('a call that breaks the schema of its tool is held to it from its name on', async () => {
  const say = 'Well. <tool_call>\n{"name": "get_weather", "arguments": {"town": "Oslo"}}\n</tool_call>';
  const model = await open(familyModel('misspelt', 'chatml', ['--say', say]));
  const { calls } = await ask(model, {});
  expect(calls).toEqual([PARIS]);
});

test('stop strings count in the text, not in thoughts and not in calls', async () => {
  const say =
    '<think>\nHm, well.</think> Let me see.<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>';
  const model = await open(familyModel('hermes', 'hermes', ['--say', say]));
  expect(await ask(model, { stop: ['well', 'Paris'] })).toMatchObject({ calls: [PARIS], text: 'Let me see.' });
  const stopped = await ask(model, { stop: [' see'] });
  expect(stopped).toMatchObject({ reasoning: 'Hm, well.', text: 'Let me', calls: [] });
  expect(stopped.end).toMatchObject({ finishReason: 'stop', stopSequence: ' see' });
});

test('a call that the bound cuts ends with the bound', async () => {
  const say = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';
  const model = await open(familyModel('chatml', 'chatml', ['--say', say]));
  const { end, calls } = await ask(model, { maxTokens: 5 });
  expect(end).toMatchObject({ type: 'done', finishReason: 'length' });
  expect(calls).toEqual([{ name: 'get_weather', arguments: '{"city":' }]);
});

describe('a vocabulary in which <tool_call> is found in any text', () => {
  test('does not find it in what a user writes', async () => {
    const model = await open(familyModel('hermes', 'hermes', ['--say', 'x']));
    const found = tokensOf(model, '<tool_call>', 'control');
    expect(found).toHaveLength(1);
    for (const text of [
      '<tool_call>',
      'a <tool_call> b',
      '<tool_call></tool_call>',
      '<<tool_call>>',
      '<think>'.repeat(5),
    ]) {
      const tokens = tokensOf(model, text, 'text');
      for (const token of tokens) expect(model.controlText(token)).toBeUndefined();
      expect(model.detokenize(tokens, [])).toBe(text);
    }
  });
});

function tokensOf(model: Runtime, text: string, type: 'text' | 'control'): number[] {
  const work = model.tokenizePrompt([type === 'text' ? { type, text } : { type, token: text }]);
  let state = work.next();
  while (state.done !== true) state = work.next();
  return state.value;
}

describe('a long prompt', () => {
  const words = 'the quick brown fox jumps over the lazy dog and runs away. ';

  test('has the same tokens in slices as at once', async () => {
    const model = await open(loopModel());
    const text = words.repeat(1_200);
    const slices = [...model.tokenizePrompt([{ type: 'text', text }])];
    expect(slices.length).toBeGreaterThan(3);
    expect(model.detokenize(tokensOf(model, text, 'text'), [])).toBe(text);
    const one = tokensOf(model, words.repeat(200), 'text'); // less than a slice
    expect(tokensOf(model, text, 'text').slice(0, one.length - 1)).toEqual(one.slice(0, -1));
  });

  test('of a million characters is refused while the other streams go on', async () => {
    const model = await open(loopModel(), 4_096, 2);
    const heard: RequestMessage[] = [];
    const ended = new Promise<void>((resolve) => {
      const sequences = new Sequences(model, undefined, (messages) => {
        for (const message of messages) {
          heard.push(message);
          if (message.type === 'text' && message.id === 1) sequences.acknowledge(1, 1);
          if (message.type === 'text' && texts(heard) === 5) sequences.start(long(2));
          if (message.type === 'failed' && message.id === 2) sequences.cancel(1);
          if (message.type === 'failed' && message.id === 1) resolve();
        }
      });
      sequences.start(orderOf(1, { tools: [] }));
    });
    await ended;
    const refusal = heard.find((message) => message.id === 2);
    expect(refusal).toMatchObject({ type: 'failed', code: 'context_length_exceeded' });
  });

  test('that may fit is tokenized with pauses, and a cancel in one of them ends it', async () => {
    const model = await open(madeModel('long', ['--ctx', '16384', '--say', 'Hello.']), 16_384);
    const order = (id: number) => orderOf(id, { messages: [{ role: 'user', content: words.repeat(600) }], tools: [] });
    let turns = 0;
    const turn = () => {
      turns++;
      if (ends.length < 2) setImmediate(turn);
    };
    const ends: RequestMessage[] = [];
    await new Promise<void>((resolve) => {
      const sequences = new Sequences(model, undefined, (messages) => {
        ends.push(...messages);
        if (ends.length === 2) resolve();
      });
      setImmediate(turn);
      sequences.start(order(1));
      sequences.start(order(2));
      sequences.cancel(2);
    });
    expect(turns).toBeGreaterThan(0);
    expect(ends).toContainEqual(expect.objectContaining({ id: 1, code: 'context_length_exceeded' }));
    expect(ends).toContainEqual(expect.objectContaining({ id: 2, code: 'cancelled' }));
  });

  test('with five hundred tools is read like any other', async () => {
    const model = await open(familyModel('chatml', 'chatml', ['--say', '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>']), 64); // prettier-ignore
    const tools = Array.from({ length: 500 }, (_, nth) => ({ ...WEATHER, name: `tool_${nth}` }));
    expect((await ask(model, { tools })).end).toMatchObject({ type: 'failed', code: 'context_length_exceeded' });
  });

  function long(id: number): GenerateOrder {
    return orderOf(id, { messages: [{ role: 'user', content: words.repeat(17_000) }] });
  }

  function texts(messages: readonly RequestMessage[]): number {
    return messages.filter((message) => message.type === 'text' && message.id === 1).length;
  }
});
