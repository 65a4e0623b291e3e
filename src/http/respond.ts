import { stream } from 'hono/streaming';
import { DarkbloomError, toFailure } from '../errors.js';
import type { Reply } from '../inference/dialect.js';
import type { ChatEvent } from '../inference/types.js';
import type { HttpContext } from './app.js';

interface Answer {
  events: AsyncIterator<ChatEvent>;
  reply: Reply;
  streaming: boolean;
  /** Headers of the answer, known once it has content. */
  headers: () => Record<string, string>;
}

/**
 * Writes an answer as a stream or as one body. Nothing is written before the first content: what fails before that is
 * an error with its own status. The events are read to their end also when the client has left, so that whoever makes
 * them can end them well.
 */
export async function respond(context: HttpContext, { events, reply, streaming, headers }: Answer): Promise<Response> {
  let head = '';
  let last: ChatEvent | undefined;
  while (last === undefined || last.type === 'accepted' || last.type === 'started') {
    last = await nextEvent(events);
    head += reply.frames(last);
  }
  for (const [name, value] of Object.entries(headers())) context.header(name, value);
  if (!streaming) {
    while (!isLast(last)) {
      last = await nextEvent(events);
      reply.frames(last);
    }
    await events.next();
    if (last.type === 'cancelled')
      throw new DarkbloomError('cancelled', 'The client left before the answer was complete.');
    return context.json(reply.body());
  }
  context.header('Content-Type', 'text/event-stream');
  context.header('Cache-Control', 'no-cache');
  context.header('Connection', 'keep-alive');
  const ended = isLast(last);
  return stream(context, async (out) => {
    if (head !== '') await out.write(head);
    try {
      for (let next = ended ? undefined : await events.next(); next?.done === false; next = await events.next()) {
        const frames = reply.frames(next.value);
        if (frames !== '') await out.write(frames);
      }
      if (ended) await events.next();
    } catch (error) {
      await out.write(reply.failure(toFailure(error)));
    } finally {
      await events.return?.(); // whoever makes them ends with it, whatever went wrong here
    }
  });
}

async function nextEvent(events: AsyncIterator<ChatEvent>): Promise<ChatEvent> {
  const next = await events.next();
  if (next.done === true) throw new DarkbloomError('internal', 'The answer ended without its last event.');
  return next.value;
}

function isLast(event: ChatEvent): boolean {
  return event.type === 'done' || event.type === 'cancelled';
}
