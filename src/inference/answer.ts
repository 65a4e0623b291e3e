import { parseChat } from './openai-chat.js';
import { parseOperation, type Engine } from './operations.js';
import { isJsonObject, type ChatEvent } from './types.js';

/** The one corridor: a chat body from any door, or one for an operation, answered by the engine.
 *  @throws DarkbloomError from the iterator, before or after the first event. */
export async function* answer(body: unknown, engine: Engine, signal: AbortSignal): AsyncGenerator<ChatEvent> {
  const operation = isJsonObject(body) ? parseOperation(body) : undefined;
  if (operation === undefined) {
    yield* engine.generate(parseChat(body), signal);
    return;
  }
  for await (const event of engine.operate(operation, signal)) {
    if (event.type === 'accepted') yield event;
    else {
      const { result } = event;
      // counting reads nothing and writes nothing
      const usage = { promptTokens: result.op === 'embed' ? result.promptTokens : 0, completionTokens: 0 };
      yield { type: 'done', finishReason: 'stop', stopSequence: null, usage, result };
    }
  }
}
