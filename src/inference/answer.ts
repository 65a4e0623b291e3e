import { parseChat } from './openai-chat.js';
import type { ChatEvent, Generator } from './types.js';

/** The one corridor: a chat body from any door, answered by the engine.
 *  @throws DarkbloomError from the iterator, before or after the first event. */
export async function* answer(body: unknown, generator: Generator, signal: AbortSignal): AsyncGenerator<ChatEvent> {
  yield* generator.generate(parseChat(body), signal);
}
