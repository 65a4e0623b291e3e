import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { ServerResponse } from 'node:http';
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
 *
 * A stream goes straight to the connection: by way of a web stream each answer costs several times as much, and the
 * library holds the first piece back for a millisecond in case a second one comes.
 */
export async function respond(context: HttpContext, { events, reply, streaming, headers }: Answer): Promise<Response> {
  let stream: ServerResponse | undefined;
  try {
    let head = '';
    let last: ChatEvent | undefined;
    while (last === undefined || last.type === 'accepted' || last.type === 'started') {
      last = await nextEvent(events);
      head += reply.frames(last);
    }
    for (const [name, value] of Object.entries(headers())) context.header(name, value);
    if (!streaming) return await wholeBody(context, events, reply, last);
    stream = beginStream(context);
    await writeStream(stream, { head, events, reply, last });
    return RESPONSE_ALREADY_SENT;
  } finally {
    await events.return?.(); // whoever makes them ends with it, whatever went wrong here
    stream?.end();
  }
}

async function wholeBody(
  context: HttpContext,
  events: AsyncIterator<ChatEvent>,
  reply: Reply,
  first: ChatEvent,
): Promise<Response> {
  let last = first;
  while (!isLast(last)) {
    last = await nextEvent(events);
    reply.frames(last);
  }
  await events.next();
  if (last.type === 'cancelled')
    throw new DarkbloomError('cancelled', 'The client left before the answer was complete.');
  return context.json(reply.body());
}

function beginStream(context: HttpContext): ServerResponse {
  context.header('Content-Type', 'text/event-stream');
  context.header('Cache-Control', 'no-cache');
  context.header('Connection', 'keep-alive');
  const { outgoing } = context.env;
  outgoing.setHeaders(context.newResponse(null).headers);
  return outgoing;
}

interface Begun extends Pick<Answer, 'events' | 'reply'> {
  /** What is to be written of the events so far. */
  head: string;
  last: ChatEvent;
}

/** What goes wrong from here on is told in the stream. */
async function writeStream(outgoing: ServerResponse, { head, events, reply, last }: Begun): Promise<void> {
  try {
    await write(outgoing, head);
    const ended = isLast(last);
    for (let next = ended ? undefined : await events.next(); next?.done === false; next = await events.next()) {
      await write(outgoing, reply.frames(next.value));
    }
    if (ended) await events.next();
  } catch (error) {
    await write(outgoing, reply.failure(toFailure(error)));
  }
}

/** Resolves when there is room for more. To a client that has left nothing is written. */
async function write(outgoing: ServerResponse, text: string): Promise<void> {
  if (text === '' || outgoing.destroyed || outgoing.write(text)) return;
  await new Promise<void>((resolve) => {
    const go = () => {
      outgoing.off('drain', go);
      outgoing.off('close', go);
      resolve();
    };
    outgoing.on('drain', go);
    outgoing.on('close', go);
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
