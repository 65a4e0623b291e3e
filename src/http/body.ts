import type { HttpBindings } from '@hono/node-server';
import { DarkbloomError, type ErrorCode } from '../errors.js';
import { isJsonObject, type JsonObject } from '../inference/types.js';
import type { HttpContext } from './app.js';

/** Bodies that carry no prompt. */
export const MAX_SMALL_BODY_BYTES = 64 * 1024;

/** The JSON object in a request's body.
 *  @throws DarkbloomError `too_large` before reading more than the limit; `cancelled` when the client leaves before the
 *  end; `code` for anything but an object. */
export async function readJson(
  context: HttpContext,
  maxBytes: number,
  code: ErrorCode = 'invalid_request',
): Promise<JsonObject> {
  const text = await readText(context, maxBytes);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new DarkbloomError(code, `The body is not valid JSON (${text.length} characters).`);
  }
  if (!isJsonObject(json)) throw new DarkbloomError(code, 'The body must be a JSON object.');
  return json;
}

/** Like `readJson`; no body at all is an empty object. */
export async function readOptionalJson(context: HttpContext, maxBytes: number, code: ErrorCode): Promise<JsonObject> {
  const length = context.req.header('content-length');
  const chunked = context.req.header('transfer-encoding') !== undefined;
  return (length === undefined || length === '0') && !chunked ? {} : readJson(context, maxBytes, code);
}

async function readText(context: HttpContext, maxBytes: number): Promise<string> {
  const announced = Number(context.req.header('content-length') ?? 0);
  if (announced > maxBytes) throw tooLarge(announced, maxBytes);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of bodyOf(context)) {
      size += chunk.byteLength;
      if (size > maxBytes) throw tooLarge(size, maxBytes);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof DarkbloomError) throw cause;
    throw new DarkbloomError('cancelled', 'The client left before the end of its request.', { cause });
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The pieces as they come from the connection, which stays open for the answer when reading stops; making a web stream
 *  of them costs as much as all else about the body. Without a port there is only that. */
function bodyOf(context: HttpContext): AsyncIterable<Uint8Array> {
  const { incoming } = (context.env as HttpBindings | undefined) ?? {};
  if (incoming !== undefined) return incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  return (context.req.raw.body ?? []) as AsyncIterable<Uint8Array>;
}

function tooLarge(bytes: number, maxBytes: number): DarkbloomError {
  return new DarkbloomError('too_large', `The body has at least ${bytes} bytes; the limit is ${maxBytes}.`);
}
