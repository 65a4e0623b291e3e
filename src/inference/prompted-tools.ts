import { argumentsOf } from './template-messages.js';
import type { Syntax } from './syntax/syntax.js';
import { GEMMA3 } from './syntax/gemma.js';
import type { ChatMessage, Tool } from './types.js';

/**
 * For templates that know no tools: they are described in the system text, calls stand in the text of the assistant and
 * results in that of the user. Hermes' own wording (NousResearch/Hermes-2-Pro-Llama-3-8B, "Prompt Format for Function
 * Calling"), or for Gemma 3 that of ai.google.dev/gemma/docs/capabilities/function-calling.
 */
export function promptedTools(messages: readonly ChatMessage[], tools: readonly Tool[], syntax: Syntax): ChatMessage[] {
  const written: ChatMessage[] = [];
  messages.forEach((message, index) => {
    const text = asText(message, syntax);
    const last = written.at(-1);
    // results and what the user writes behind them are one message: most templates want user and assistant in turns
    const goesOn = last?.role === 'user' && text.role === 'user' && [message, messages[index - 1]].some(isResult);
    if (goesOn) written[written.length - 1] = { ...last, content: `${last.content}\n${text.content}` };
    else written.push(text);
  });
  if (tools.length === 0) return written;
  const description = descriptionOf(tools, syntax);
  const [first, ...rest] = written;
  if (first?.role !== 'system') return [{ role: 'system', content: description }, ...written];
  return [{ ...first, content: `${first.content}\n\n${description}` }, ...rest];
}

function descriptionOf(tools: readonly Tool[], syntax: Syntax): string {
  const described = tools.map(({ name, description = '', parameters }) => ({ name, description, parameters }));
  if (syntax === GEMMA3) {
    return (
      'You have access to functions. If you decide to invoke any of the functions, you MUST put it in the format of\n' +
      '{"name": function name, "parameters": dictionary of argument name and its value}\n\n' +
      'You SHOULD NOT include any other text in the response if you call a function\n' +
      JSON.stringify(described)
    );
  }
  const signatures = described.map((each) => JSON.stringify({ type: 'function', function: each })).join('\n');
  return (
    'You may call one or more functions to assist with the user query. Here are the available tools:\n' +
    `<tools>\n${signatures}\n</tools>\n` +
    'For each function call return a JSON object with function name and arguments within <tool_call></tool_call> tags:\n' +
    '<tool_call>\n{"name": <function-name>, "arguments": <args-dict>}\n</tool_call>'
  );
}

function asText(message: ChatMessage, syntax: Syntax): ChatMessage {
  const { role, content, toolCalls = [] } = message;
  if (role === 'tool') {
    const name = message.name === undefined ? '' : `${message.name}: `;
    const result = syntax === GEMMA3 ? `${name}${content}` : `<tool_response>\n${content}\n</tool_response>`;
    return { role: 'user', content: result };
  }
  if (toolCalls.length === 0) return message;
  const calls = toolCalls.map((call) => {
    const given = argumentsOf(call);
    if (syntax === GEMMA3) return JSON.stringify({ name: call.name, parameters: given });
    return `<tool_call>\n${JSON.stringify({ name: call.name, arguments: given })}\n</tool_call>`;
  });
  const text = syntax === GEMMA3 ? calls.join(';') : calls.join('\n');
  return { role, content: content === '' ? text : `${content}\n${text}` };
}

function isResult(message: ChatMessage | undefined): boolean {
  return message?.role === 'tool';
}
