import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PromptTemplate, templateRenders, type Conversation, type PromptRun } from '../../src/inference/prompt.js';
import { PLAIN, type ChatMessage, type Tool } from '../../src/inference/types.js';
import { templateThinks } from '../../src/inference/syntax/syntax-of.js';
import { FAMILIES, TEMPLATES, type Family, type MadeTemplate } from '../support/templates.js';

const WEATHER: Tool = {
  name: 'get_weather',
  description: 'Says "sun" or "rain".',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' }, days: { type: 'integer' } },
    required: ['city'],
  },
};

/** Two calls in one message, their results, and a question behind them. */
const HISTORY: ChatMessage[] = [
  { role: 'system', content: 'Be short.' },
  { role: 'user', content: 'How is it there?' },
  {
    role: 'assistant',
    content: '',
    reasoning: 'Both cities.',
    toolCalls: [
      { id: 'call_1', name: 'get_weather', arguments: '{"city":"Paris","days":2}' },
      { id: 'call_2', name: 'get_weather', arguments: '{"city":"Rome"}' },
    ],
  },
  { role: 'tool', content: 'sun', toolCallId: 'call_1' },
  { role: 'tool', content: 'rain', toolCallId: 'call_2' },
];

const made = new Map(FAMILIES.map((family) => [family, templateOf(TEMPLATES[family])]));

function templateOf(facts: MadeTemplate): PromptTemplate {
  const tokens = [...facts.control, ...facts.userDefined.filter((text) => text.trim() !== '')];
  return new PromptTemplate(facts, tokens);
}

function prompt(family: Family, conversation: Partial<Conversation>) {
  const template = made.get(family);
  if (template === undefined) throw new Error(`There is no ${family}.`);
  return template.render({ ...PLAIN, messages: [{ role: 'user', content: 'Hi' }], ...conversation });
}

const written = (runs: readonly PromptRun[]) =>
  runs.map((run) => (run.type === 'text' ? run.text : run.token)).join('');
const controls = (runs: readonly PromptRun[]) => runs.flatMap((run) => (run.type === 'control' ? [run.token] : []));

const THINKING: ReadonlySet<Family> = new Set([
  'hermes',
  'qwen-coder',
  'mistral-named',
  'gemma4',
  'harmony',
  'deepseek',
  'deepseek-fenced',
]);

describe.each(FAMILIES)('the template of %s', (family) => {
  test('renders, and leads to the syntax of its family', () => {
    expect(templateRenders(TEMPLATES[family])).toBe(true);
    expect(made.get(family)?.syntax.name).toBe(family === 'chatml' ? 'hermes' : family);
    expect(made.get(family)?.knowsTools).toBe(family !== 'chatml' && family !== 'gemma3');
  });

  test('has a place for thoughts, or has none', () => {
    expect(templateThinks(TEMPLATES[family].template)).toBe(THINKING.has(family));
  });

  test('shows the tools, the calls with their arguments, and the results, each behind its call', () => {
    const text = written(prompt(family, { messages: HISTORY, tools: [WEATHER] }).runs);
    for (const part of ['get_weather', 'Be short.', 'Paris', 'Rome', 'How is it there?']) expect(text).toContain(part);
    for (const result of ['sun', 'rain']) expect(text.lastIndexOf(result)).toBeGreaterThan(text.lastIndexOf('Paris'));
    expect(text.lastIndexOf('rain')).toBeGreaterThan(text.lastIndexOf('Rome'));
    expect(text).not.toMatch(/undefined|\[object|\uE000/u);
  });

  test('shows no tools where none may be called', () => {
    expect(written(prompt(family, { tools: [WEATHER], toolChoice: 'none' }).runs)).not.toContain('get_weather');
  });
});

/** What is special about a family's history. */
test.each<[Family, string]>([
  ['hermes', '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call>'],
  ['qwen-coder', '<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>'],
  ['llama', '{"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n"sun"'],
  ['mistral', '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}, "id": "'],
  ['mistral-named', '[THINK]Both cities.[/THINK][TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 2}[TOOL_CALLS]get_weather'],
  ['mistral-numbered', '[ARGS]{"city": "Rome"}</s>[TOOL_RESULTS]sun'],
  ['gemma3', '{"name":"get_weather","parameters":{"city":"Paris","days":2}};{"name":"get_weather"'],
  ['gemma3', '<start_of_turn>user\nget_weather: sun\nget_weather: rain<end_of_turn>'],
  ['gemma4', '<|channel>thought\nBoth cities.\n<channel|><|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:2}<tool_call|>'],
  ['gemma4', '<|tool_response>response:get_weather{value:<|"|>rain<|"|>}<tool_response|>'],
  ['functiongemma', '<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:2}<end_function_call>'],
  ['harmony', '<|channel|>analysis<|message|>Both cities.<|end|><|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Paris", "days": 2}<|call|><|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>"sun"<|end|>'],
  ['deepseek', '<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris", "days": 2}<｜tool▁call▁end｜>'],
  ['deepseek-fenced', 'function<｜tool▁sep｜>get_weather\n```json\n{"city":"Paris","days":2}\n```<｜tool▁call▁end｜>'],
  ['chatml', 'assistant\n<tool_call>\n{"name":"get_weather","arguments":{"city":"Paris","days":2}}\n</tool_call>'],
])('the history of %s holds %j', (family, part) => {
  expect(written(prompt(family, { messages: HISTORY, tools: [WEATHER] }).runs)).toContain(part);
}); // prettier-ignore

test.each<[Family, Record<string, unknown>, 'text' | 'reasoning', boolean]>([
  ['hermes', {}, 'text', true],
  ['hermes', { enable_thinking: false }, 'text', false],
  ['qwen-coder', {}, 'reasoning', false],
  ['qwen-coder', { enable_thinking: false }, 'text', false],
  ['gemma4', {}, 'text', false],
  ['gemma4', { enable_thinking: true }, 'text', true],
  ['deepseek', { enable_thinking: true }, 'reasoning', false],
  ['mistral-named', {}, 'text', true],
  ['chatml', {}, 'text', false],
])('an answer of %s with %j begins with %s', (family, templateArguments, begins, mayThink) => {
  expect(prompt(family, { templateArguments })).toMatchObject({ begins, mayThink });
});

test('what a request sets reaches the template', () => {
  const text = written(prompt('harmony', { templateArguments: { reasoning_effort: 'high' } }).runs);
  expect(text).toContain('Reasoning: high');
});

test('a system text goes in front of the first message where the template takes none', () => {
  const messages: ChatMessage[] = [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: 'Hi' },
  ];
  expect(written(prompt('gemma3', { messages }).runs)).toContain('user\nBe short.\n\nHi<end_of_turn>');
});

test.each([
  ['is not valid', '{% for %}'],
  ['renders nothing at all', "{{ raise_exception('never') }}"],
  ['uses a filter that nobody knows', '{{ messages | unheard }}'],
])('a template that %s is refused when the model is loaded, with a reason', (_, template) => {
  const opened = () => new PromptTemplate({ template, bosToken: '', eosToken: '' }, []);
  expect(opened).toThrow(expect.objectContaining({ code: 'model_corrupt' }) as Error);
  expect(opened).toThrow(/chat template cannot be used/u);
});

/** In CI a sample; `npm run test:languages` takes the full figure. */
const RUNS = Number(process.env.DARKBLOOM_TEST_RUNS ?? 60);

describe('whatever a request holds', () => {
  test.each(FAMILIES)('the control tokens of %s are those of the template', (family) => {
    const { control, userDefined } = TEMPLATES[family];
    const tokens = [...control, ...userDefined];
    const bits = tokens.flatMap((token) => [token, token.slice(0, 3), token.slice(1), token.slice(1, -1)]);
    const piece = fc.oneof(
      fc.constantFrom(...bits, '\uE000', '\uE010', '{{ bos_token }}', '"', '\\', '\n', 'x'),
      fc.string({ unit: 'binary', maxLength: 5 }),
    );
    const text = fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => `a${pieces.join('')}z`);
    const request = fc.record({
      system: text,
      user: text,
      thought: text,
      tool: text,
      about: text,
      key: text,
      value: text,
      result: text,
      given: text,
    });
    type Texts = Record<
      'system' | 'user' | 'thought' | 'tool' | 'about' | 'key' | 'value' | 'result' | 'given',
      string
    >;
    const conversation = (texts: Texts): Conversation => ({
      messages: [
        { role: 'system', content: texts.system },
        { role: 'user', content: texts.user },
        {
          role: 'assistant',
          content: '',
          reasoning: texts.thought,
          toolCalls: [{ id: texts.result, name: texts.tool, arguments: JSON.stringify({ [texts.key]: texts.value }) }],
        },
        { role: 'tool', content: texts.result, toolCallId: texts.result },
      ],
      tools: [
        {
          name: texts.tool,
          description: texts.about,
          parameters: { type: 'object', properties: { [texts.key]: { type: 'string', description: texts.about } } },
        },
      ],
      toolChoice: 'auto',
      templateArguments: { reasoning_effort: texts.given },
    });
    const harmless = prompt(family, conversation(Object.fromEntries('system user thought tool about key value result given'.split(' ').map((name) => [name, 'a'])) as Texts)); // prettier-ignore
    fc.assert(
      fc.property(request, (texts) => {
        const { runs } = prompt(family, conversation(texts));
        expect(controls(runs)).toEqual(controls(harmless.runs));
        expect(written(runs)).toContain(texts.user);
      }),
      { numRuns: RUNS },
    );
  });
});
