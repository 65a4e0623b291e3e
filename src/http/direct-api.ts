import { randomUUID, timingSafeEqual } from 'node:crypto';
import { cors } from 'hono/cors';
import { DarkbloomError } from '../errors.js';
import { answer } from '../inference/answer.js';
import { anthropicMessages } from '../inference/anthropic.js';
import type { Dialect } from '../inference/dialect.js';
import { openAiChat, openAiCompletions, openAiResponses } from '../inference/openai.js';
import { countTokens, embeddings } from '../inference/operation-dialects.js';
import type { Engine } from '../inference/operations.js';
import { isJsonObject, type JsonObject } from '../inference/types.js';
import type { Log } from '../log.js';
import { MAX_REQUEST_BYTES } from '../protocol/limits.js';
import { createApp, credentialOf, type HttpApp, type HttpContext } from './app.js';
import { readJson } from './body.js';
import { addLinkedPage } from './linked-page.js';
import { ownNames } from './page-guard.js';
import { respond } from './respond.js';

interface DirectOptions {
  generator: Engine;
  models: () => readonly { alias: string }[];
  /** What a local client must show; lies in the 0600 discovery record. */
  token: string;
  /** Where the console of this machine is. */
  coordinatorUrl: string;
  /** The address it listens on. */
  host: string;
  /** Throws what refuses a new request now. */
  refuse: () => void;
  version: string;
  now: () => number;
  log: Log;
}

/** The endpoint of a linked machine: the same dialects on loopback, the same engine, no accounts and no money. */
export function createDirectApi(options: DirectOptions): HttpApp {
  const app = createApp(options.log);
  const cacheScope = randomUUID(); // nobody on the wire can name it
  addLinkedPage(app, options.coordinatorUrl, ownNames(options.host));
  app.use(cors({ origin: '*', allowMethods: ['GET', 'POST', 'HEAD', 'OPTIONS'] }));
  app.get('/', (context) => context.json(health(options)));
  app.get('/health', (context) => context.json(health(options)));
  app.get('/v1/health', (context) => context.json(health(options)));
  app.get('/v1/models', (context) => {
    authorize(context, options.token);
    const data = options.models().map(({ alias }) => ({ id: alias, object: 'model', created: 0, owned_by: 'self' }));
    return context.json({ object: 'list', data: data.sort((a, b) => a.id.localeCompare(b.id)) });
  });
  app.post('/v1/chat/completions', (context) => infer(context, openAiChat, options, cacheScope));
  app.post('/v1/completions', (context) => infer(context, openAiCompletions, options, cacheScope));
  app.post('/v1/responses', (context) => infer(context, openAiResponses, options, cacheScope));
  app.post('/v1/messages', (context) => infer(context, anthropicMessages, options, cacheScope));
  app.post('/v1/messages/count_tokens', (context) => infer(context, countTokens, options, cacheScope));
  app.post('/v1/embeddings', (context) => infer(context, embeddings, options, cacheScope));
  return app;
}

function health({ version }: DirectOptions): JsonObject {
  return { status: 'ok', mode: 'direct', version };
}

function authorize(context: HttpContext, token: string): void {
  const given = Buffer.from(credentialOf(context) ?? '');
  const wanted = Buffer.from(token);
  if (given.length === wanted.length && timingSafeEqual(given, wanted)) return;
  throw new DarkbloomError(
    'unauthorized',
    'The local token is missing or wrong. `darkbloom-provider local` prints it.',
  );
}

async function infer(
  context: HttpContext,
  pathDialect: Dialect,
  options: DirectOptions,
  cacheScope: string,
): Promise<Response> {
  authorize(context, options.token);
  const body = await readJson(context, MAX_REQUEST_BYTES);
  const dialect = pathDialect.of?.(body) ?? pathDialect;
  options.refuse();
  const darkbloom = { op: dialect.op, owner: true, cache_scope: cacheScope };
  const chat: JsonObject = { ...dialect.lower(body), darkbloom };
  const { model, stream, stream_options: streamOptions } = chat;
  const maxTokens = chat['max_tokens'] ?? chat['max_completion_tokens'] ?? chat['max_output_tokens'];
  const reply = dialect.reply({
    requestId: randomUUID(),
    asked: body,
    created: Math.floor(options.now() / 1_000),
    model: typeof model === 'string' ? model : '',
    includeUsage: isJsonObject(streamOptions) && streamOptions['include_usage'] === true,
    maxTokens: typeof maxTokens === 'number' ? maxTokens : undefined,
  });
  const events = answer(chat, options.generator, context.req.raw.signal);
  return respond(context, { events, reply, streaming: stream === true, headers: () => ({}) });
}
