import { createHash } from 'node:crypto';
import type { ControlTokens } from './control-tokens.js';
import { guarded, guardedJson } from './guarded-text.js';
import { isJsonObject, type ChatMessage, type JsonObject, type Tool, type ToolCall } from './types.js';

/** Conversations in the shape that chat templates expect: huggingface.co/docs/transformers/chat_extras (tool use). */

/** What a template can do; `PromptTemplate` finds it out by trying. */
export interface Abilities {
  /** It takes a system message. */
  system: boolean;
  /** It describes tools and renders calls and their results. */
  tools: boolean;
  /** What `tools` is without any: `none` as in transformers' apply_chat_template, or an empty list. */
  noTools: null | [];
  /** Arguments of calls are given to it as JSON text, not as objects. */
  textArguments: boolean;
  /** A message may hold one call only. */
  singleCalls: boolean;
  /** Results belong to the message with their calls, as `tool_responses`. */
  foldedResults: boolean;
  /** Thoughts and text may not stand in one message with a call. */
  eitherThoughtOrText: boolean;
}

export function toolsForTemplate(tools: readonly Tool[], tokens: ControlTokens): unknown {
  return tools.map(({ name, description = '', parameters }) => ({
    type: 'function',
    function: guardedJson({ name, description, parameters }, tokens),
  }));
}

export function messagesForTemplate(
  messages: readonly ChatMessage[],
  abilities: Abilities,
  tokens: ControlTokens,
): JsonObject[] {
  let conversation = messages;
  if (!abilities.system) conversation = withoutSystem(conversation);
  if (abilities.singleCalls) conversation = withSingleCalls(conversation);
  const shaped = conversation.map((message) => shapeOf(message, abilities, tokens));
  return abilities.foldedResults ? withFoldedResults(shaped) : shaped;
}

/** For templates without a system role: its text begins the first message of the user. */
function withoutSystem(messages: readonly ChatMessage[]): ChatMessage[] {
  const system = messages.filter(({ role }) => role === 'system').map(({ content }) => content);
  const others = messages.filter(({ role }) => role !== 'system');
  if (system.length === 0) return others;
  const first = others.findIndex(({ role }) => role === 'user');
  if (first < 0) return [{ role: 'user', content: system.join('\n\n') }, ...others];
  return others.map((message, index) =>
    index === first ? { ...message, content: [...system, message.content].join('\n\n') } : message,
  );
}

/** Each call gets a message of its own, with its results behind it. */
function withSingleCalls(messages: readonly ChatMessage[]): ChatMessage[] {
  const single: ChatMessage[] = [];
  const moved = new Set<ChatMessage>();
  messages.forEach((message, index) => {
    if (moved.has(message)) return;
    const calls = message.toolCalls ?? [];
    if (calls.length < 2) return single.push(message);
    const results = resultsBehind(messages, index);
    calls.forEach((call, nth) => {
      const first = nth === 0 ? message : { role: message.role, content: '' };
      const own = results.filter(({ toolCallId }) => toolCallId === call.id);
      for (const each of own) moved.add(each);
      single.push({ ...first, toolCalls: [call] }, ...own);
    });
  });
  return single;
}

function resultsBehind(messages: readonly ChatMessage[], index: number): ChatMessage[] {
  const behind = messages.slice(index + 1);
  const end = behind.findIndex(({ role }) => role !== 'tool');
  return end < 0 ? behind : behind.slice(0, end);
}

/** Each result carries the name of the tool that it came from. */
export function withNames(messages: readonly ChatMessage[]): ChatMessage[] {
  const names = new Map(messages.flatMap(({ toolCalls = [] }) => toolCalls.map(({ id, name }) => [id, name])));
  return messages.map((message) => {
    const name = message.role === 'tool' ? (message.name ?? names.get(message.toolCallId ?? '')) : undefined;
    return name === undefined ? message : { ...message, name };
  });
}

function shapeOf(message: ChatMessage, abilities: Abilities, tokens: ControlTokens): JsonObject {
  const { role, toolCalls = [], toolCallId, name } = message;
  const content = guarded(message.content, tokens);
  const hidden = abilities.eitherThoughtOrText && toolCalls.length > 0 && content !== '';
  const thought = hidden || message.reasoning === undefined ? '' : guarded(message.reasoning, tokens);
  return {
    role,
    content,
    // the names under which templates look for it: Qwen, Gemma, gpt-oss
    ...(thought === '' ? {} : { reasoning_content: thought, reasoning: thought, thinking: thought }),
    ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map((call) => callOf(call, abilities, tokens)) }),
    ...(toolCallId === undefined ? {} : { tool_call_id: shortId(toolCallId) }),
    ...(name === undefined ? {} : { name: guarded(name, tokens) }),
  };
}

function callOf(call: ToolCall, { textArguments }: Abilities, tokens: ControlTokens): JsonObject {
  const given = textArguments ? call.arguments : argumentsOf(call);
  return {
    id: shortId(call.id),
    type: 'function',
    function: { name: guarded(call.name, tokens), arguments: guardedJson(given, tokens) },
  };
}

/** The arguments of a call as an object; as text when they are none. */
export function argumentsOf({ arguments: text }: ToolCall): JsonObject | string {
  try {
    const parsed: unknown = JSON.parse(text.trim() === '' ? '{}' : text);
    return isJsonObject(parsed) ? parsed : text;
  } catch {
    return text;
  }
}

/** Nine letters and digits: Mistral's templates take no other ids, and no template knows more of them than that two are
 *  the same. */
function shortId(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 9);
}

function withFoldedResults(messages: readonly JsonObject[]): JsonObject[] {
  const folded: JsonObject[] = [];
  for (const message of messages) {
    const last = folded.at(-1);
    if (message.role !== 'tool' || last?.tool_calls === undefined) {
      folded.push(message);
      continue;
    }
    const before = Array.isArray(last.tool_responses) ? (last.tool_responses as unknown[]) : [];
    last.tool_responses = [...before, { name: message.name, response: message.content }];
  }
  return folded;
}
