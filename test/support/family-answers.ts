import { DEEPSEEK } from '../../src/inference/syntax/deepseek.js';
import { FUNCTION_GEMMA, GEMMA3, GEMMA4 } from '../../src/inference/syntax/gemma.js';
import { HARMONY } from '../../src/inference/syntax/harmony.js';
import { HERMES } from '../../src/inference/syntax/hermes.js';
import { LLAMA } from '../../src/inference/syntax/llama.js';
import { MISTRAL } from '../../src/inference/syntax/mistral.js';
import type { Syntax } from '../../src/inference/syntax/syntax.js';
import type { Tool } from '../../src/inference/types.js';

/** What models of each family write, and what it is read as. */

export const TOOLS: Tool[] = [
  {
    name: 'get_weather',
    parameters: {
      type: 'object',
      properties: {
        city: { type: 'string' },
        days: { type: 'integer' },
        hours: { type: 'array' },
        where: { type: 'object' },
      },
      required: ['city'],
    },
  },
  { name: 'stop', parameters: { type: 'object', properties: {} } },
];

export interface Read {
  text?: string;
  reasoning?: string;
  calls?: [name: string, args: string][];
  over?: boolean;
}

export interface Options {
  tools?: Tool[];
  parallel?: boolean;
  begins?: 'text' | 'reasoning';
  cut?: boolean;
}

const PARIS: [string, string] = ['get_weather', '{"city":"Paris"}'];

const hermesCall = (json: string) => `<tool_call>\n${json}\n</tool_call>`;
const xmlCall = (parameters: string) => `<tool_call>\n<function=get_weather>\n${parameters}</function>\n</tool_call>`;
const parameter = (key: string, value: string) => `<parameter=${key}>\n${value}\n</parameter>\n`;
const channel = (name: string, text: string) => `<|channel|>${name}<|message|>${text}<|end|><|start|>assistant`;
const deepseek = (inner: string) => `<｜tool▁calls▁begin｜>${inner}<｜tool▁calls▁end｜>`;

/** What each family writes, and what it says. */
export const ANSWERS: [name: string, syntax: Syntax, answer: string, said: Read, options?: Options][] = [
  ['text', HERMES, ' Hello there.\n', { text: ' Hello there.\n' }],
  ['thoughts and text', HERMES, '<think>\nHm, so.\n</think>\n\nHello.', { reasoning: 'Hm, so.', text: 'Hello.' }],
  ['no thoughts', HERMES, '<think>\n\n</think>\n\nHello.', { text: 'Hello.' }],
  ['thoughts that the prompt began', HERMES, 'Hm.\n</think>\n\nHello.', { reasoning: 'Hm.', text: 'Hello.' }, { begins: 'reasoning' }],
  ['thoughts without an end', HERMES, '<think>\nHm', { reasoning: 'Hm' }],
  ['<think> in the middle of the text', HERMES, 'Write <think> first.', { text: 'Write <think> first.' }],
  ['a call', HERMES, hermesCall('{"name": "get_weather", "arguments": {"city": "Paris"}}'), { calls: [PARIS] }],
  ['text and a call', HERMES, `Let me see.\n\n${hermesCall('{"name":"get_weather","arguments":{"city":"Paris"}}')}`, { text: 'Let me see.', calls: [PARIS] }],
  ['thoughts and a call', HERMES, `<think>\nHm.\n</think>\n\n${hermesCall('{"name":"stop","arguments":{}}')}`, { reasoning: 'Hm.', calls: [['stop', '{}']] }],
  ['two calls', HERMES, `${hermesCall('{"name":"get_weather","arguments":{"city":"Paris"}}')}\n${hermesCall('{"name":"stop","arguments":{}}')}`, { calls: [PARIS, ['stop', '{}']] }],
  ['two calls where one is allowed', HERMES, `${hermesCall('{"name":"get_weather","arguments":{"city":"Paris"}}')}\n${hermesCall('{"name":"stop","arguments":{}}')}`, { calls: [PARIS], over: true }, { parallel: false }],
  ['text behind a call', HERMES, `${hermesCall('{"name":"stop","arguments":{}}')}\nDone.`, { calls: [['stop', '{}']], over: true }],
  ['arguments before the name', HERMES, hermesCall('{"arguments": {"city":"Paris"}, "name": "get_weather"}'), { calls: [PARIS] }],
  ['arguments as a string', HERMES, hermesCall('{"name":"get_weather","arguments":"{\\"city\\":\\"Paris\\"}"}'), { calls: [PARIS] }],
  ['no arguments', HERMES, hermesCall('{"name":"stop"}'), { calls: [['stop', '{}']] }],
  ['arguments that are null', HERMES, hermesCall('{"name":"stop","arguments":null}'), { calls: [['stop', '{}']] }],
  ['another key', HERMES, hermesCall('{"id": 5, "name":"get_weather","arguments":{"city":"Paris"}}'), { calls: [PARIS] }],
  ['a line break in a string', HERMES, hermesCall('{"name":"get_weather","arguments":{"city":"a\nb"}}'), { calls: [['get_weather', '{"city":"a\\nb"}']] }],
  ['arguments that end too early', HERMES, '<tool_call>\n{"name":"get_weather","arguments":{"city":"Par', { calls: [['get_weather', '{"city":"Par"}']] }],
  ['arguments cut by the bound', HERMES, '<tool_call>\n{"name":"get_weather","arguments":{"city":"Par', { calls: [['get_weather', '{"city":"Par']] }, { cut: true }],
  ['arguments that are no JSON', HERMES, hermesCall('{"name":"get_weather","arguments":{"city": Paris}}'), { calls: [['get_weather', '{"city":null}']], over: true }],
  ['a call of an unknown tool', HERMES, hermesCall('{"name":"rm","arguments":{}}'), { text: hermesCall('{"name":"rm","arguments":{}}') }],
  ['a call that is none', HERMES, 'Use <tool_call> tags, and <tool_call>{"name": 5}</tool_call>.', { text: 'Use <tool_call> tags, and <tool_call>{"name": 5}</tool_call>.' }],
  ['a call after one that is none', HERMES, `<tool_call> is how: ${hermesCall('{"name":"stop","arguments":{}}')}`, { text: '<tool_call> is how:', calls: [['stop', '{}']] }],
  ['a call where no tools are offered', HERMES, hermesCall('{"name":"stop","arguments":{}}'), { text: hermesCall('{"name":"stop","arguments":{}}') }, { tools: [] }],
  ['a call with tags', HERMES, xmlCall(parameter('city', 'Paris')), { calls: [PARIS] }],
  ['a call with tags and no parameters', HERMES, '<tool_call>\n<function=stop>\n</function>\n</tool_call>', { calls: [['stop', '{}']] }],
  ['a call with tags and nothing around', HERMES, `<function=get_weather>\n${parameter('city', 'Paris')}</function>`, { calls: [PARIS] }],
  ['parameters of all types', HERMES, xmlCall(parameter('city', 'a "b"\n<c>') + parameter('days', '3') + parameter('hours', '[1, 2]') + parameter('where', 'None')), { calls: [['get_weather', '{"city":"a \\"b\\"\\n<c>","days":3,"hours":[1,2],"where":null}']] }],
  ['a parameter that is not of its type', HERMES, xmlCall(parameter('days', 'three')), { calls: [['get_weather', '{"days":"three"}']] }],
  ['tags that end too early', HERMES, '<tool_call>\n<function=get_weather>\n<parameter=city>\nPar', { calls: [['get_weather', '{"city":"Par"}']] }],
  ['two calls with tags', HERMES, `${xmlCall(parameter('city', 'Paris'))}\n${xmlCall(parameter('city', 'Rome'))}`, { calls: [PARIS, ['get_weather', '{"city":"Rome"}']] }],

  ['text', LLAMA, 'Hello {there}.', { text: 'Hello {there}.' }],
  ['a bare call', LLAMA, '{"name": "get_weather", "parameters": {"city": "Paris"}}', { calls: [PARIS] }],
  ['a tagged call', LLAMA, '<|python_tag|>{"type": "function", "name": "get_weather", "parameters": {"city":"Paris"}}', { calls: [PARIS] }],
  ['two calls', LLAMA, '{"name":"get_weather","parameters":{"city":"Paris"}}; {"name":"stop","parameters":{}}', { calls: [PARIS, ['stop', '{}']] }],
  ['two calls where one is allowed', LLAMA, '{"name":"get_weather","parameters":{"city":"Paris"}}; {"name":"stop","parameters":{}}', { calls: [PARIS], over: true }, { parallel: false }],
  ['JSON that is no call', LLAMA, '{"name": "Paris", "country": "France"}', { text: '{"name": "Paris", "country": "France"}' }],
  ['JSON with the name of a tool', LLAMA, '{"name": "stop"}', { text: '{"name": "stop"}' }],
  ['a list that is none', LLAMA, '[1] says so.', { text: '[1] says so.' }],

  ['text', MISTRAL, 'Hello.', { text: 'Hello.' }],
  ['thoughts and text', MISTRAL, '[THINK]Hm.[/THINK]Hello.', { reasoning: 'Hm.', text: 'Hello.' }],
  ['a list with a call', MISTRAL, '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "abcdefghi"}]', { calls: [PARIS] }],
  ['a list with two calls', MISTRAL, '[TOOL_CALLS][{"name":"get_weather","arguments":{"city":"Paris"}},{"name":"stop","arguments":{}}]', { calls: [PARIS, ['stop', '{}']] }],
  ['a named call', MISTRAL, '[TOOL_CALLS]get_weather[ARGS]{"city":"Paris"}', { calls: [PARIS] }],
  ['named calls with ids', MISTRAL, '[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city":"Paris"}[TOOL_CALLS]stop[CALL_ID]abcdefghj[ARGS]{}', { calls: [PARIS, ['stop', '{}']] }],
  ['named calls where one is allowed', MISTRAL, '[TOOL_CALLS]get_weather[ARGS]{"city":"Paris"}[TOOL_CALLS]stop[ARGS]{}', { calls: [PARIS], over: true }, { parallel: false }],
  ['a mark that begins no call', MISTRAL, 'It is [TOOL_CALLS] here.', { text: 'It is [TOOL_CALLS] here.' }],

  ['text', GEMMA3, 'Hello.', { text: 'Hello.' }],
  ['a bare call', GEMMA3, '{"name": "get_weather", "parameters": {"city": "Paris"}}', { calls: [PARIS] }],
  ['two calls', GEMMA3, '{"name":"get_weather","parameters":{"city":"Paris"}};{"name":"stop","parameters":{}}', { calls: [PARIS, ['stop', '{}']] }],
  ['a call in a fence', GEMMA3, 'Sure:\n```json\n{"name": "get_weather", "parameters": {"city": "Paris"}}\n```', { text: 'Sure:', calls: [PARIS] }],
  ['a call in a fence of its own', GEMMA3, '```tool_code\n{"name":"get_weather","parameters":{"city":"Paris"}}\n```\n', { calls: [PARIS] }],
  ['code in a fence', GEMMA3, '```json\n{"a": 1}\n```', { text: '```json\n{"a": 1}\n```' }],

  ['text', GEMMA4, 'Hello.', { text: 'Hello.' }],
  ['thoughts and text', GEMMA4, '<|channel>thought\nHm.\n<channel|>Hello.', { reasoning: 'Hm.', text: 'Hello.' }],
  ['thoughts that the prompt began', GEMMA4, 'Hm.<channel|>Hello.', { reasoning: 'Hm.', text: 'Hello.' }, { begins: 'reasoning' }],
  ['a call', GEMMA4, '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>', { calls: [PARIS] }],
  ['a call and the beginning of its result', GEMMA4, '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|><|tool_response>', { calls: [PARIS], over: true }],
  ['a call without arguments', GEMMA4, '<|tool_call>call:stop{}<tool_call|>', { calls: [['stop', '{}']] }],
  ['two calls', GEMMA4, '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|><|tool_call>call:stop{}<tool_call|>', { calls: [PARIS, ['stop', '{}']] }],
  ['arguments of all types', GEMMA4, '<|tool_call>call:get_weather{city:<|"|>a "b" {c}<|"|>,days:3,hours:[1,2.5],where:{a:true,<|"|>b c<|"|>:null,d:[]}}<tool_call|>', { calls: [['get_weather', '{"city":"a \\"b\\" {c}","days":3,"hours":[1,2.5],"where":{"a":true,"b c":null,"d":[]}}']] }],
  ['a bare word', GEMMA4, '<|tool_call>call:get_weather{city: Paris }<tool_call|>', { calls: [PARIS] }],
  ['arguments that end too early', GEMMA4, '<|tool_call>call:get_weather{hours:[1,2', { calls: [['get_weather', '{"hours":[1,2]}']] }],
  ['arguments cut by the bound', GEMMA4, '<|tool_call>call:get_weather{city:<|"|>Par', { calls: [['get_weather', '{"city":"Par']] }, { cut: true }],
  ['a call of an unknown tool', GEMMA4, '<|tool_call>call:rm{}<tool_call|>', { text: '<|tool_call>call:rm{}<tool_call|>' }],
  ['a call', FUNCTION_GEMMA, '<start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>', { calls: [PARIS] }],
  ['a call and the beginning of its result', FUNCTION_GEMMA, '<start_function_call>call:stop{}<end_function_call><start_function_response>', { calls: [['stop', '{}']], over: true }],
  ['two calls', FUNCTION_GEMMA, '<start_function_call>call:stop{}<end_function_call><start_function_call>call:stop{}<end_function_call>', { calls: [['stop', '{}'], ['stop', '{}']] }],
  ['text', FUNCTION_GEMMA, 'I cannot.', { text: 'I cannot.' }],

  ['text without a header', HARMONY, 'Hello.', { text: 'Hello.' }],
  ['the final channel', HARMONY, '<|channel|>final<|message|>Hello.', { text: 'Hello.' }],
  ['thoughts and text', HARMONY, `${channel('analysis', 'Hm.')}<|channel|>final<|message|>Hello.<|return|>`, { reasoning: 'Hm.', text: 'Hello.' }],
  ['thoughts and a call', HARMONY, `${channel('analysis', 'Hm.')}<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city":"Paris"}<|call|>`, { reasoning: 'Hm.', calls: [PARIS], over: true }],
  ['a recipient before the channel', HARMONY, ' to=functions.get_weather<|channel|>commentary json<|message|>{"city":"Paris"}', { calls: [PARIS], over: true }],
  ['a preamble and a call', HARMONY, `${channel('commentary', 'Let me see.')}<|channel|>commentary to=functions.stop<|message|>{}`, { text: 'Let me see.', calls: [['stop', '{}']], over: true }],
  ['a call of an unknown tool', HARMONY, '<|channel|>commentary to=functions.rm<|message|>{}', { text: '{}' }],
  ['a call that is no JSON', HARMONY, '<|channel|>commentary to=functions.stop<|message|>please', { text: 'please' }],
  ['thoughts without an end', HARMONY, '<|channel|>analysis<|message|>Hm', { reasoning: 'Hm' }],

  ['text', DEEPSEEK, 'Hello.', { text: 'Hello.' }],
  ['thoughts that the prompt began', DEEPSEEK, 'Hm.\n</think>\n\nHello.', { reasoning: 'Hm.', text: 'Hello.' }, { begins: 'reasoning' }],
  ['a call', DEEPSEEK, deepseek('<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city":"Paris"}<｜tool▁call▁end｜>'), { calls: [PARIS], over: true }],
  ['a fenced call', DEEPSEEK, deepseek('<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{"city":"Paris"}\n```<｜tool▁call▁end｜>'), { calls: [PARIS], over: true }],
  ['two calls', DEEPSEEK, deepseek('<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city":"Paris"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>stop<｜tool▁sep｜>{}<｜tool▁call▁end｜>'), { calls: [PARIS, ['stop', '{}']], over: true }],
]; // prettier-ignore
