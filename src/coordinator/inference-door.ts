import { createHash, randomUUID } from 'node:crypto';
import { DarkbloomError } from '../errors.js';
import { credentialOf, type HttpContext } from '../http/app.js';
import { readJson } from '../http/body.js';
import { respond } from '../http/respond.js';
import type { Dialect } from '../inference/dialect.js';
import { parseEmbed } from '../inference/embeddings.js';
import { parseChat } from '../inference/openai-chat.js';
import { isJsonObject, type JsonObject } from '../inference/types.js';
import type { Log } from '../log.js';
import { MAX_REQUEST_BYTES } from '../protocol/limits.js';
import type { Clock } from '../util/clock.js';
import type { Accounts, Caller } from './accounts.js';
import { Bill } from './bill.js';
import { FALLBACK_PRICE, holdFor, outputBound, promptBound } from './billing.js';
import type { Fleet } from './fleet.js';
import type { Gate } from './gate.js';
import type { Ledger, RouteMode } from './ledger.js';
import type { Metrics } from './metrics.js';
import { RateLimited, type RateLimits } from './rate-limits.js';
import type { Registry, WantedBuild } from './registry.js';
import type { Shape } from './breakers.js';
import { refusalOf } from './refusals.js';
import { refuseWhenFull, relay } from './relay.js';
import { eligible, type Candidate, type Wish } from './routing.js';
import { MACHINE_HEADER, namedMachines, routeOf } from './self-route.js';

/** For limits alone; what is paid are the provider's true tokens. */
const BYTES_PER_TOKEN = 4;
/** A body that is sealed to the coordinator. */
const SEALED_TYPE = 'application/eigeninference-sealed+json';

export interface DoorDeps {
  accounts: Accounts;
  rates: RateLimits;
  metrics: Metrics;
  registry: Registry;
  ledger: Ledger;
  fleet: Fleet;
  gate: Gate;
  /** What a request of the owner's account without a route header means. */
  selfRouteDefault: 'self' | 'none';
  /** The platform's part of paid requests, in whole percent. */
  feePercent: number;
  clock: Clock;
  log: Log;
}

/** Who asks: from the request's credential; without one, from the session of a page (docs/pages.md).
 *  @throws DarkbloomError `unauthorized`; `identity_unavailable`. */
export function authenticate(context: HttpContext, accounts: Accounts): Caller {
  const signedIn = context.get('identity');
  const identified = signedIn === undefined ? undefined : accounts.find(signedIn());
  if (identified !== undefined) return { account: identified, via: 'login' };
  const credential = credentialOf(context);
  const loginHash = context.get('loginHash');
  if (credential === undefined && loginHash !== undefined) {
    const account = accounts.accountOfLogin(loginHash);
    if (account !== undefined) return { account, via: 'login' };
  }
  const caller = credential === undefined || credential === '' ? undefined : accounts.authenticate(credential);
  if (caller !== undefined) return caller;
  const what = credential === undefined ? 'No API key was sent.' : 'The API key is not valid.';
  throw new DarkbloomError('unauthorized', `${what} Send it as "Authorization: Bearer KEY" or "x-api-key: KEY".`);
}

/** One inference request of any dialect, checked in the order of the contract: who, how large, what, which model, by
 *  which route, for how much; then relayed. */
export async function infer(context: HttpContext, dialect: Dialect, deps: DoorDeps): Promise<Response> {
  const leave = deps.gate.enter(deps.fleet.places);
  const begun: { bill?: Bill } = {};
  try {
    return await inferInside(context, dialect, deps, { leave, begun });
  } catch (error) {
    if (error instanceof RateLimited) setHeaders(context, error.headers);
    await begun.bill?.refund('reservation_refund'); // only if the relay, which refunds for itself, never began
    leave();
    throw error;
  }
}

async function inferInside(
  context: HttpContext,
  pathDialect: Dialect,
  deps: DoorDeps,
  { leave, begun }: { leave: () => void; begun: { bill?: Bill } },
): Promise<Response> {
  const receivedAt = performance.now();
  const caller = authenticate(context, deps.accounts);
  setHeaders(context, deps.rates.request(caller));
  if (context.req.header('content-type')?.startsWith(SEALED_TYPE) === true) throw noSealedRequests();
  const body = await readJson(context, MAX_REQUEST_BYTES);
  const dialect = pathDialect.of?.(body) ?? pathDialect;
  const model = checkedModel(body, caller, dialect);
  const { account } = caller;
  const mode = routeOf(context, caller, deps);
  const machineIds = namedMachines(context, body, { mode, account }, deps);
  const builds = resolve(model, mode, caller, deps);
  const shape: Shape = Array.isArray(body['tools']) && body['tools'].length > 0 ? 'tools' : 'plain';
  const wish = (): Wish => ({
    account,
    mode,
    builds,
    machineIds,
    now: deps.clock.now(),
    knowledge: deps.fleet.knowledgeFor({ shape, beginnings: [] }),
  });
  const place = { accountId: account.id, lane: builds[0]?.id ?? model, model, ownMachinesOnly: mode === 'self' };
  refuseWhenFull(place, eligible(deps.fleet.machines, wish()), deps.fleet);
  const chat = toChat(dialect, body);

  const jobId = randomUUID();
  const promptBytes = promptBound(chat);
  const isFree = dialect.op === 'count'; // and leaves no row
  const promptTokens = Math.ceil(promptBytes / BYTES_PER_TOKEN);
  const outputTokens = dialect.op === undefined ? outputBound(chat, builds[0]?.maxOutputLength) : 0;
  setHeaders(context, deps.rates.tokens(caller, promptTokens, outputTokens));
  const tokens = promptTokens + outputTokens;
  const beginnings = deps.fleet.prefixes.beginningsOf(account.id, chat);
  const bill = new Bill(
    { requestId: jobId, accountId: account.id, keyId: keyIdOf(caller), alias: model, routeMode: mode },
    deps,
  );
  begun.bill = bill;
  const timing: Timing = { receivedAt, parsedAt: performance.now(), reservedAt: 0, sentAt: 0, contentAt: 0 };
  if (mode !== 'self' && !isFree) {
    const price = deps.registry.platformPrice(builds[0]?.id ?? '') ?? FALLBACK_PRICE;
    await bill.hold(holdFor(promptBytes, outputTokens, price));
  }

  timing.reservedAt = performance.now();
  let served: Candidate | undefined;
  const knowledge = deps.fleet.knowledgeFor({ shape, beginnings });
  const candidates = () => eligible(deps.fleet.machines, { ...wish(), promptTokens, tokens, knowledge });
  const events = relay(
    {
      ...place,
      shape,
      beginnings,
      tokens,
      promptTokens,
      candidates,
      refusal: () => refusalOf(model, wish(), deps),
      bodyFor: ({ build, own, machine }) => {
        timing.sentAt = performance.now();
        return {
          ...chat,
          model: build,
          darkbloom: { op: dialect.op, owner: own, cache_scope: cacheScope(caller.account.id, machine.id) },
        };
      },
      serving: (candidate) => {
        served = candidate;
        timing.contentAt = performance.now();
        deps.metrics.firstToken((timing.contentAt - receivedAt) / 1_000);
      },
      settle: async (on, usage) => {
        if (isFree) return;
        deps.rates.excess(caller, usage.completionTokens - outputTokens);
        await bill.settle(on, usage);
      },
      refund: (reason) => bill.refund(reason),
      ended: leave,
    },
    deps,
    context.req.raw.signal,
  );
  const { stream, stream_options: streamOptions, max_tokens: maxTokens } = chat;
  const reply = dialect.reply({
    requestId: jobId,
    asked: body,
    created: Math.floor(deps.clock.now() / 1_000),
    model,
    includeUsage: isJsonObject(streamOptions) && streamOptions['include_usage'] === true,
    maxTokens: typeof maxTokens === 'number' ? maxTokens : undefined,
  });
  return respond(context, {
    events,
    reply,
    streaming: stream === true,
    headers: () => answerHeaders(jobId, served, timing, deps.fleet),
  });
}

/** Other coordinators take bodies sealed to them; on the way to this one there is TLS (docs/operations.md). */
export function noSealedRequests(): DarkbloomError {
  return new DarkbloomError('encryption_unavailable', 'This coordinator takes no sealed requests. Send plain JSON.');
}

function setHeaders(context: HttpContext, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) context.header(name, value);
}

function checkedModel(body: JsonObject, caller: Caller, { promptField = 'messages' }: Dialect): string {
  const { model } = body;
  if (typeof model !== 'string' || model === '') {
    throw new DarkbloomError('invalid_request', "'model' is missing: name one of GET /v1/models.", { param: 'model' });
  }
  const allowed = caller.via === 'key' ? caller.key.allowedModels : [];
  if (allowed.length > 0 && !allowed.includes(model)) {
    throw new DarkbloomError('model_not_allowed', `This key may not use '${model}'.`, { param: 'model' });
  }
  const prompt = body[promptField] ?? [];
  if (Array.isArray(prompt) && prompt.length === 0) {
    throw new DarkbloomError('invalid_request', `'${promptField}' is missing or empty.`, { param: promptField });
  }
  if (typeof body['n'] === 'number' && body['n'] > 1) {
    throw new DarkbloomError('invalid_request', "'n': only one answer for each request is supported.", { param: 'n' });
  }
  return model;
}

/** The builds that a name stands for. On the caller's own machines a build may be outside the catalogue.
 *  @throws DarkbloomError `model_not_found`, `model_unavailable` for an alias without a usable build. */
function resolve(model: string, mode: RouteMode, { account }: Caller, { registry, fleet }: DoorDeps): WantedBuild[] {
  const builds = registry.wanted(model);
  if (builds !== undefined && builds.length > 0) return builds;
  if (builds !== undefined) {
    throw new DarkbloomError('model_unavailable', `The model '${model}' has no usable build now.`, { param: 'model' });
  }
  const own = fleet.machines.filter(({ accountId }) => accountId === account.id);
  const ownMayHaveIt = own.length === 0 || own.some(({ models }) => models.has(model));
  if (mode === 'self' && ownMayHaveIt) return [{ id: model, weightHash: undefined, maxOutputLength: 0 }];
  throw new DarkbloomError('model_not_found', `There is no model '${model}'. GET /v1/models lists all.`, {
    param: 'model',
  });
}

/** The chat body that will be sealed; checked as the provider will check it, before any money moves. Of the names for the
 *  output bound one is left, so that what is held for is what is asked for.
 *  @throws DarkbloomError `invalid_request`, `too_large`. */
function toChat(dialect: Dialect, sent: JsonObject): JsonObject {
  const { darkbloom: _ours, provider_serial: _one, provider_serials: _some, ...body } = sent;
  const lowered = dialect.lower(body);
  if (dialect.op === 'embed') {
    parseEmbed(lowered);
    return lowered;
  }
  const { maxTokens } = parseChat(lowered);
  const { max_tokens: _1, max_completion_tokens: _2, max_output_tokens: _3, ...rest } = lowered;
  const chat = maxTokens === undefined ? rest : { ...rest, max_tokens: maxTokens };
  const bytes = Buffer.byteLength(asText(chat));
  if (bytes <= MAX_REQUEST_BYTES) return chat;
  throw new DarkbloomError(
    'too_large',
    `The request has ${bytes} bytes when written out; the limit is ${MAX_REQUEST_BYTES}.`,
  );
}

function asText(chat: JsonObject): string {
  try {
    return JSON.stringify(chat);
  } catch (cause) {
    throw new DarkbloomError('invalid_request', 'The body is nested too deeply.', { cause });
  }
}

/** What one account's requests on one machine have in common; two machines cannot tell that it is the same account. */
function cacheScope(accountId: string, machineId: string): string {
  return createHash('sha256')
    .update(JSON.stringify([accountId, machineId]))
    .digest('base64url');
}

function keyIdOf(caller: Caller): string | undefined {
  return caller.via === 'key' ? caller.key.id : undefined;
}

/** When a request came to which point of its way, ms of this process. */
interface Timing {
  receivedAt: number;
  parsedAt: number;
  /** Its hold is on the disk. */
  reservedAt: number;
  /** To the machine that answers. */
  sentAt: number;
  /** The first content. */
  contentAt: number;
}

/** Where the time to the first content went, microseconds. */
function timingHeader({ receivedAt, parsedAt, reservedAt, sentAt, contentAt }: Timing): string {
  const us = (from: number, to: number) => Math.round((to - from) * 1_000);
  return JSON.stringify({
    parse_us: us(receivedAt, parsedAt),
    reserve_us: us(parsedAt, reservedAt),
    queue_us: us(reservedAt, sentAt),
    provider_us: us(sentAt, contentAt),
  });
}

function answerHeaders(
  jobId: string,
  served: Candidate | undefined,
  timing: Timing,
  fleet: Fleet,
): Record<string, string> {
  const headers: Record<string, string> = { 'X-Inference-Job-ID': jobId };
  if (served === undefined) return headers;
  const { machine, own } = served;
  const hardware = fleet.session(machine.id)?.register.hardware;
  return {
    ...headers,
    'X-Provider-Encrypted': String(machine.encrypted),
    'X-Provider-Attested': 'false',
    'X-Provider-Trust-Level': 'none',
    'X-Provider-Secure-Enclave': 'false',
    'X-Provider-Id': machine.id,
    ...(own && machine.machineId !== undefined ? { [MACHINE_HEADER]: machine.machineId } : {}),
    ...(hardware === undefined
      ? {}
      : { 'X-Provider-Chip': headerText(hardware.chip_name), 'X-Provider-Model': headerText(hardware.machine_model) }),
    'X-Timing': timingHeader(timing),
  };
}

/** Header values are printable ASCII. */
function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, '?');
}
