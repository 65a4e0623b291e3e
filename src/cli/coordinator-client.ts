import { z } from 'zod';
import { DarkbloomError, type ErrorCode } from '../errors.js';
import { isJsonObject, type JsonObject } from '../inference/types.js';
import { tryJson } from '../util/json.js';

const TIMEOUT_MS = 15_000;
export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

const ErrorBody = z.object({ error: z.object({ type: z.string(), message: z.string() }) });

/** One call to a coordinator's HTTP routes. The token goes into a header, never into an address.
 *  @throws DarkbloomError `link_refused` with the coordinator's own words, `link_lost` when it cannot be reached. */
export async function callCoordinator(
  baseUrl: string,
  route: { method: Method; path: string; token?: string; body?: JsonObject },
): Promise<JsonObject> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${baseUrl}${route.path}`, {
      method: route.method,
      headers: {
        ...(route.token === undefined ? {} : { authorization: `Bearer ${route.token}` }),
        ...(route.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(route.body === undefined ? {} : { body: JSON.stringify(route.body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch (cause) {
    throw new DarkbloomError(
      'link_lost',
      `${baseUrl} cannot be reached. Check the address and that the coordinator runs.`,
      {
        cause,
      },
    );
  }
  const json = tryJson(text);
  if (response.ok && isJsonObject(json)) return json;
  const said = ErrorBody.safeParse(json).data?.error;
  const unlike = `${baseUrl} answered ${response.status}, but not like a coordinator. Check the address.`;
  const code = said === undefined ? 'link_refused' : codeFor(response.status);
  throw new DarkbloomError(code, said?.message ?? unlike, { status: response.status });
}

/** Whose mistake it was: what was asked, the login, or the other side. */
function codeFor(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'not_logged_in';
  return status >= 400 && status < 429 ? 'bad_request' : 'link_refused';
}
