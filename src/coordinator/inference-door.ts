import { createHash, randomUUID } from 'node:crypto';
import { DarkbloomError } from '../errors.js';
import { credentialOf, type HttpContext } from '../http/app.js';
import { readJson } from '../http/body.js';
import { respond } from '../http/respond.js';
import type { Dialect } from '../inference/dialect.js';
import { parseChat } from '../inference/openai-chat.js';
import { isJsonObject, type JsonObject } from '../inference/types.js';
import type { Log } from '../log.js';
import { MAX_REQUEST_BYTES } from '../protocol/limits.js';
import type { Clock } from '../util/clock.js';
import type { Accounts, Caller } from './accounts.js';
import { FALLBACK_PRICE, holdFor, outputBound, promptBound } from './billing.js';
import type { Fleet } from './fleet.js';
import type { Gate } from './gate.js';
import type { Ledger, RouteMode } from './ledger.js';
import type { Build, Registry } from './registry.js';
import { relay } from './relay.js';
import { eligible, hasFreshChallenge, routeModeOf, type Candidate } from './routing.js';

export interface DoorDeps {
  accounts: Accounts;
  registry: Registry;
  ledger: Ledger;
  fleet: Fleet;
  gate: Gate;
  /** What a request of the owner's account without a route header means. */
  selfRouteDefault: 'self' | 'none';
  clock: Clock;
  log: Log;
}

/** Who asks: from the request's credential; without one, from the session of a page (docs/pages.md).
 *  @throws DarkbloomError `unauthorized`. */
export function authenticate(context: HttpContext, accounts: Accounts): Caller {
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
  const leave = deps.gate.enter();
  try {
    return await inferInside(context, dialect, deps, leave);
  } catch (error) {
    leave();
    throw error;
  }
}

async function inferInside(
  context: HttpContext,
  dialect: Dialect,
  deps: DoorDeps,
  leave: () => void,
): Promise<Response> {
  const receivedAt = performance.now();
  const caller = authenticate(context, deps.accounts);
  const body = await readJson(context, MAX_REQUEST_BYTES);
  const model = checkedModel(body, caller);
  const mode = routeOf(context, caller, deps);
  const builds = resolve(model, mode, caller, deps);
  const chat = toChat(dialect, body);

  const jobId = randomUUID();
  const promptBytes = promptBound(chat);
  if (mode !== 'self') {
    const price = deps.registry.platformPrice(builds[0]?.id ?? '') ?? FALLBACK_PRICE;
    const amount = holdFor(promptBytes, outputBound(chat, builds[0]?.maxOutputLength), price);
    deps.ledger.hold({ requestId: jobId, accountId: caller.account.id, keyId: keyIdOf(caller), amount });
  }

  let served: { candidate: Candidate; at: number } | undefined;
  const candidates = () =>
    eligible(deps.fleet.machines, { account: caller.account, mode, builds, now: deps.clock.now() });
  const events = relay(
    {
      model,
      promptBytes,
      ownMachinesOnly: mode === 'self',
      candidates,
      refusal: () => refusal(model, mode, caller, deps),
      bodyFor: ({ build, own, machine }) => ({
        ...chat,
        model: build,
        darkbloom: { owner: own, cache_scope: cacheScope(caller.account.id, machine.id) },
      }),
      serving: (candidate) => (served = { candidate, at: performance.now() }),
      settle: ({ machine, build }, usage) => {
        deps.ledger.settle({
          requestId: jobId,
          accountId: caller.account.id,
          keyId: keyIdOf(caller),
          alias: model,
          build,
          providerId: machine.id,
          providerAccountId: machine.accountId ?? '',
          ...usage,
          price: deps.registry.priceFor(build, machine.accountId ?? ''),
          routeMode: mode,
        });
      },
      refund: (reason) => deps.ledger.refund(jobId, reason),
      ended: leave,
    },
    deps,
    context.req.raw.signal,
  );
  const { stream, stream_options: streamOptions, max_tokens: maxTokens } = chat;
  const reply = dialect.reply({
    requestId: jobId,
    created: Math.floor(deps.clock.now() / 1_000),
    model,
    includeUsage: isJsonObject(streamOptions) && streamOptions['include_usage'] === true,
    maxTokens: typeof maxTokens === 'number' ? maxTokens : undefined,
  });
  return respond(context, {
    events,
    reply,
    streaming: stream === true,
    headers: () => answerHeaders(jobId, served, receivedAt, deps.fleet),
  });
}

function checkedModel(body: JsonObject, caller: Caller): string {
  const { model } = body;
  if (typeof model !== 'string' || model === '') {
    throw new DarkbloomError('invalid_request', "'model' is missing: name one of GET /v1/models.", { param: 'model' });
  }
  const allowed = caller.via === 'key' ? caller.key.allowedModels : [];
  if (allowed.length > 0 && !allowed.includes(model)) {
    throw new DarkbloomError('model_not_allowed', `This key may not use '${model}'.`, { param: 'model' });
  }
  const { messages, input } = body;
  if (!(Array.isArray(messages) && messages.length > 0) && input === undefined) {
    throw new DarkbloomError('invalid_request', "'messages' is missing or empty.", { param: 'messages' });
  }
  if (typeof body['n'] === 'number' && body['n'] > 1) {
    throw new DarkbloomError('invalid_request', "'n': only one answer for each request is supported.", { param: 'n' });
  }
  for (const param of ['provider_serial', 'provider_serials'] as const) {
    if (body[param] === undefined) continue;
    throw new DarkbloomError('invalid_request', `'${param}': machines cannot be chosen by serial number here.`, {
      param,
    });
  }
  return model;
}

/** @throws DarkbloomError `invalid_request` when a machine is named: requests cannot be pinned to one yet. */
export function routeOf(context: HttpContext, caller: Caller, deps: Pick<DoorDeps, 'selfRouteDefault'>): RouteMode {
  const param = 'X-Darkbloom-Machine';
  if (context.req.header(param) !== undefined) {
    throw new DarkbloomError('invalid_request', `${param}: requests cannot be pinned to one machine yet.`, { param });
  }
  const fallback = caller.account.isOwner ? deps.selfRouteDefault : 'none';
  return routeModeOf(
    context.req.header('x-darkbloom-route'),
    caller.via === 'key' && caller.key.selfRouteOnly,
    fallback,
  );
}

/** The builds that a name stands for. On the caller's own machines a build may be outside the catalogue.
 *  @throws DarkbloomError `model_not_found`, `model_unavailable` for an alias without a usable build. */
function resolve(model: string, mode: RouteMode, { account }: Caller, { registry, fleet }: DoorDeps): WantedBuild[] {
  const resolved = registry.resolve(model);
  if (resolved !== undefined && resolved.builds.length > 0) return resolved.builds;
  if (resolved !== undefined) {
    throw new DarkbloomError('model_unavailable', `The model '${model}' has no usable build now.`, { param: 'model' });
  }
  const own = fleet.machines.filter(({ accountId }) => accountId === account.id);
  const ownMayHaveIt = own.length === 0 || own.some(({ models }) => models.has(model));
  if (mode === 'self' && ownMayHaveIt) return [{ id: model, weightHash: undefined, maxOutputLength: 0 }];
  throw new DarkbloomError('model_not_found', `There is no model '${model}'. GET /v1/models lists all.`, {
    param: 'model',
  });
}

type WantedBuild = Pick<Build, 'id' | 'weightHash' | 'maxOutputLength'>;

/** The chat body that will be sealed; checked as the provider will check it, before any money moves. Of the names for the
 *  output bound one is left, so that what is held for is what is asked for.
 *  @throws DarkbloomError `invalid_request`, `too_large`. */
function toChat(dialect: Dialect, { darkbloom: _ours, ...body }: JsonObject): JsonObject {
  const { max_tokens, max_completion_tokens, max_output_tokens: last, ...rest } = dialect.lower(body);
  const { maxTokens: first } = parseChat({ ...rest, max_tokens, max_completion_tokens });
  const bound = first ?? (typeof last === 'number' && last >= 1 ? Math.floor(last) : undefined);
  const chat = bound === undefined ? rest : { ...rest, max_tokens: bound };
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

/** Why no machine can take the request. */
function refusal(
  model: string,
  mode: RouteMode,
  { account }: Caller,
  { accounts, fleet, clock }: DoorDeps,
): DarkbloomError {
  if (mode !== 'self') {
    return new DarkbloomError('model_unavailable', `No machine that may serve '${model}' to you is connected now.`, {
      retryAfterS: 2,
    });
  }
  const own = fleet.machines.filter(({ accountId }) => accountId === account.id);
  if (own.length > 0 && own.every(({ draining }) => draining)) {
    return new DarkbloomError(
      'draining',
      'Your machine is paused or stopping. `darkbloom-provider resume` lets a paused one serve again.',
      { retryAfterS: 3 },
    );
  }
  if (own.length > 0) {
    const challenged = own.some((machine) => hasFreshChallenge(machine, clock.now()));
    const [mistrust] = own.flatMap((machine) => machine.mistrust ?? []);
    const why = mistrust ?? (challenged ? undefined : 'it has not answered a challenge of this coordinator lately');
    const message = `Your machine is connected but cannot serve '${model}' now${why === undefined ? '' : `: ${why}`}.`;
    return new DarkbloomError('model_not_loaded', message, { retryAfterS: 15 });
  }
  return accounts.hasMachine(account.id)
    ? new DarkbloomError(
        'machine_offline',
        'Your machine is not connected. Start it with `darkbloom-provider start`.',
        {
          retryAfterS: 30,
        },
      )
    : new DarkbloomError(
        'no_linked_machine',
        'No machine is linked to this account. Link one with `darkbloom-provider link URL`.',
      );
}

function answerHeaders(
  jobId: string,
  served: { candidate: Candidate; at: number } | undefined,
  receivedAt: number,
  fleet: Fleet,
): Record<string, string> {
  const headers: Record<string, string> = { 'X-Inference-Job-ID': jobId };
  if (served === undefined) return headers;
  const { machine } = served.candidate;
  const hardware = fleet.session(machine.id)?.register.hardware;
  return {
    ...headers,
    'X-Provider-Encrypted': String(machine.encrypted),
    'X-Provider-Attested': 'false',
    'X-Provider-Trust-Level': 'none',
    'X-Provider-Secure-Enclave': 'false',
    'X-Provider-Id': machine.id,
    ...(hardware === undefined
      ? {}
      : { 'X-Provider-Chip': headerText(hardware.chip_name), 'X-Provider-Model': headerText(hardware.machine_model) }),
    'X-Timing': JSON.stringify({ first_content_us: Math.round((served.at - receivedAt) * 1_000) }),
  };
}

/** Header values are printable ASCII. */
function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, '?');
}
