import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { isJsonObject, type JsonObject } from './types.js';

/** The conversation of `/v1/messages` as chat messages. */

/** Blocks that Anthropic's API has and models of text have no use for. */
const NO_BLOCKS: Readonly<Record<string, string>> = {
  image: 'images are',
  document: 'documents are',
  search_result: 'search results are',
  container_upload: 'files are',
  tool_reference: 'tool references are',
  server_tool_use: "Anthropic's own tools are",
  mcp_tool_use: 'MCP servers are',
  compaction: 'compacted conversations are',
};
const MAX_ID_CHARACTERS = 256;

const refusedBlock = (taken: string) => (issue: { input?: unknown }) => {
  const { input } = issue;
  const type = isJsonObject(input) ? input['type'] : undefined;
  const known = typeof type === 'string' && Object.hasOwn(NO_BLOCKS, type) ? NO_BLOCKS[type] : undefined;
  return known === undefined ? `must be ${taken}` : `${known} not supported; must be ${taken}`;
};

const id = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(MAX_ID_CHARACTERS, `must be at most ${MAX_ID_CHARACTERS} characters`);
const Text = z.object({ type: z.literal('text'), text: z.string() });
const blocks = <T extends z.ZodType>(block: T) =>
  z.union([z.string(), z.array(block)], 'must be a string or a list of blocks');

const ResultBlock = z.discriminatedUnion('type', [Text], { error: refusedBlock("'text'") });
const ToolResult = z.object({
  type: z.literal('tool_result'),
  tool_use_id: id,
  content: blocks(ResultBlock).nullish(),
  is_error: z.boolean('must be true or false').nullish(),
});
const UserBlock = z.discriminatedUnion('type', [Text, ToolResult], { error: refusedBlock("'text' or 'tool_result'") });

const AssistantBlock = z.discriminatedUnion(
  'type',
  [
    Text,
    z.object({ type: z.literal('thinking'), thinking: z.string() }),
    z.object({ type: z.literal('redacted_thinking') }),
    z.object({
      type: z.literal('tool_use'),
      id,
      name: id,
      input: z.record(z.string(), z.unknown(), 'must be an object').nullish(),
    }),
  ],
  { error: refusedBlock("'text', 'thinking', 'redacted_thinking' or 'tool_use'") },
);
const SystemBlock = z.discriminatedUnion('type', [Text], { error: refusedBlock("'text'") });

export const Turn = z.discriminatedUnion(
  'role',
  [
    z.object({ role: z.literal('user'), content: blocks(UserBlock) }),
    z.object({ role: z.literal('assistant'), content: blocks(AssistantBlock) }),
    z.object({ role: z.literal('system'), content: blocks(SystemBlock) }),
  ],
  "must have the role 'user', 'assistant' or 'system'",
);
type Turn = z.infer<typeof Turn>;
type Block = Exclude<Turn['content'], string>[number];

/** A block and where it stands, for errors. */
interface Placed {
  block: Block;
  path: string;
}
/** Neighbours of one role are one turn, as Anthropic reads them: most templates want the roles in turns. */
interface Joined {
  role: Turn['role'];
  path: string;
  placed: Placed[];
}

/** Between the texts of two messages that become one. */
const MESSAGE_BREAK: Block = { type: 'text', text: '\n\n' };

/**
 * Calls and their results stand in order: all calls of a turn are answered in the next one, each once, and nothing else
 * is answered.
 * @throws DarkbloomError `invalid_request` naming the block.
 */
export function lowerTurns(messages: readonly Turn[]): JsonObject[] {
  const turns = joined(messages);
  const last = turns.at(-1);
  if (last?.role === 'assistant') {
    throw invalidField(last.path, "must not be the assistant's at the end: an answer cannot be begun for the model");
  }
  let open = new Set<string>();
  return turns.flatMap(({ role, path, placed }) => {
    if (role === 'assistant') {
      if (open.size > 0) throw unanswered(path, open.size);
      open = callsOf(placed);
      return [assistantMessage(placed)];
    }
    if (role === 'system') return [{ role, content: textOf(placed.map(({ block }) => block)) }];
    const lowered = userMessages(placed, open);
    if (open.size > 0) throw unanswered(path, open.size);
    return lowered;
  });
}

function joined(messages: readonly Turn[]): Joined[] {
  const turns: Joined[] = [];
  for (const [index, { role, content }] of messages.entries()) {
    const path = `messages.${index}`;
    const placed = (typeof content === 'string' ? [text(content)] : content).map((block, at) => ({
      block,
      path: `${path}.content.${at}`,
    }));
    const before = turns.at(-1);
    if (before?.role !== role) turns.push({ role, path, placed });
    else {
      const meet = before.placed.at(-1)?.block.type === 'text' && placed[0]?.block.type === 'text';
      before.placed.push(...(meet ? [{ block: MESSAGE_BREAK, path }] : []), ...placed);
      before.path = path;
    }
  }
  return turns;
}

function text(content: string): Block {
  return { type: 'text', text: content };
}

function callsOf(placed: readonly Placed[]): Set<string> {
  const ids = new Set<string>();
  for (const { block, path } of placed) {
    if (block.type !== 'tool_use') continue;
    if (ids.has(block.id)) throw invalidField(`${path}.id`, 'another call of this turn has the same id');
    ids.add(block.id);
  }
  return ids;
}

function assistantMessage(placed: readonly Placed[]): JsonObject {
  const blocks = placed.map(({ block }) => block);
  const thoughts = blocks.map((block) => (block.type === 'thinking' ? block.thinking : '')).join('');
  const calls = blocks.flatMap((block) =>
    block.type === 'tool_use'
      ? [
          {
            id: block.id,
            type: 'function',
            function: { name: block.name, arguments: JSON.stringify(block.input ?? {}) },
          },
        ]
      : [],
  );
  return {
    role: 'assistant',
    content: textOf(blocks),
    ...(thoughts === '' ? {} : { reasoning_content: thoughts }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

/** Takes each answered call out of `open`. */
function userMessages(placed: readonly Placed[], open: Set<string>): JsonObject[] {
  const messages: JsonObject[] = [];
  let pending = '';
  for (const { block, path } of placed) {
    if (block.type === 'text') pending += block.text;
    if (block.type !== 'tool_result') continue;
    if (!open.delete(block.tool_use_id)) {
      throw invalidField(`${path}.tool_use_id`, 'must be the id of a call in the turn before, answered once');
    }
    if (pending !== '') messages.push({ role: 'user', content: pending });
    pending = '';
    messages.push({ role: 'tool', tool_call_id: block.tool_use_id, content: resultText(block) });
  }
  return pending === '' && messages.length > 0 ? messages : [...messages, { role: 'user', content: pending }];
}

/** Chat has no mark for a result that is an error: the model reads it in the text. */
function resultText({ content, is_error: isError }: z.infer<typeof ToolResult>): string {
  const result = typeof content === 'string' ? content : (content ?? []).map(({ text }) => text).join('\n');
  return isError === true && !/^error\b/iu.test(result) ? `Error: ${result}` : result;
}

function textOf(blocks: readonly Block[]): string {
  return blocks.map((block) => (block.type === 'text' ? block.text : '')).join('');
}

function unanswered(path: string, count: number): DarkbloomError {
  return invalidField(path, `must answer each call of the turn before with a tool_result; ${count} missing`);
}

/** `why` never holds the value. */
export function invalidField(path: string, why: string): DarkbloomError {
  return new DarkbloomError('invalid_request', `'${path}': ${why}.`, { param: path.split('.', 1)[0] ?? path });
}
