import type { HttpBindings } from '@hono/node-server';
import { randomBytes } from 'node:crypto';
import { Hono, type Context } from 'hono';
import { DarkbloomError, toFailure } from '../errors.js';
import { anthropicMessages } from '../inference/anthropic.js';
import type { Dialect } from '../inference/dialect.js';
import { openAiChat, openAiCompletions, openAiResponses } from '../inference/openai.js';
import { embeddings } from '../inference/operation-dialects.js';
import type { Log } from '../log.js';

/** Rules that hold on every route: paths, request ids, error bodies. */

export interface HttpVariables {
  /** The connection, where the app answers on a port. */
  Bindings: HttpBindings;
  Variables: {
    requestId: string;
    /** The account that the request's token of an identity provider stands for, or what is wrong with that token. Absent:
     *  it has none. */
    identity?: () => string;
    /** SHA-256 of the login token that this page's session was opened with. */
    loginHash?: string;
  };
}
export type HttpContext = Context<HttpVariables>;
export type HttpApp = Hono<HttpVariables>;

const MAX_REQUEST_ID_CHARACTERS = 200;

/** Errors that the SDKs would retry after a long sleep although nothing can have changed. */
const NO_RETRY = new Set([402, 409, 501]);
const NO_RETRY_CODES = new Set(['machine_offline', 'model_not_loaded', 'paused', 'encryption_unavailable']);

export function createApp(log: Log): HttpApp {
  const app: HttpApp = new Hono({ getPath: (request) => normalPath(new URL(request.url).pathname) });
  app.use(async (context, next) => {
    const requestId =
      context.req.header('x-request-id')?.slice(0, MAX_REQUEST_ID_CHARACTERS) ?? randomBytes(6).toString('hex');
    context.set('requestId', requestId);
    context.header('X-Request-ID', requestId);
    if (isMessagesPath(context)) context.header('request-id', requestId);
    await next();
  });
  app.notFound((context) =>
    failed(context, new DarkbloomError('no_route', `There is no ${context.req.method} ${pathOf(context)} here.`)),
  );
  app.onError((error, context) => {
    const failure = toFailure(error);
    if (failure.code === 'internal') log.error({ err: error, path: pathOf(context) }, 'request failed');
    return failed(context, failure);
  });
  return app;
}

/** Runs of `/` become one, a doubled `/v1` one, and a slash at the end goes: SDKs add `/v1` to a base that has it. */
export function normalPath(path: string): string {
  let normal = path.replace(/\/{2,}/gu, '/');
  while (/^\/v1\/v1(\/|$)/u.test(normal)) normal = normal.slice('/v1'.length);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

function pathOf(context: HttpContext): string {
  return normalPath(new URL(context.req.url).pathname);
}

function isMessagesPath(context: HttpContext): boolean {
  return pathOf(context).startsWith('/v1/messages');
}

function dialectOf(context: HttpContext): Dialect {
  if (isMessagesPath(context)) return anthropicMessages;
  switch (pathOf(context)) {
    case '/v1/completions':
      return openAiCompletions;
    case '/v1/responses':
      return openAiResponses;
    case '/v1/embeddings':
      return embeddings;
    default:
      return openAiChat;
  }
}

/** An error in the shape of the path's API. */
function failed(context: HttpContext, error: DarkbloomError): Response {
  const dialect = dialectOf(context);
  if (error.retryAfterS !== undefined) context.header('Retry-After', String(error.retryAfterS));
  if (NO_RETRY.has(error.status) || NO_RETRY_CODES.has(error.code)) context.header('x-should-retry', 'false');
  if (error.status === 401) context.header('WWW-Authenticate', 'Bearer');
  if (error.code === 'too_large') context.header('Connection', 'close'); // the rest of the body was not read
  const body = JSON.stringify(dialect.errorBody(error, context.get('requestId')));
  return context.newResponse(body, error.status as 400, { 'Content-Type': 'application/json' });
}

/** The credential of a request: `Authorization: Bearer …`, else `x-api-key`; `undefined` without any. */
export function credentialOf(context: HttpContext): string | undefined {
  const authorization = context.req.header('authorization');
  if (authorization === undefined) return context.req.header('x-api-key')?.trim();
  return /^bearer\s+(.*)$/iu.exec(authorization.trim())?.[1]?.trim() ?? '';
}
