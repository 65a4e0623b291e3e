import { randomUUID } from 'node:crypto';
import { DarkbloomError, toFailure } from '../errors.js';
import type { HttpContext } from '../http/app.js';
import { readJson } from '../http/body.js';
import type { OperationRoute } from '../inference/operation-routes.js';
import { parseOperation, type OperationResult } from '../inference/operations.js';
import type { JsonObject } from '../inference/types.js';
import { MAX_REQUEST_BYTES } from '../protocol/limits.js';
import { FALLBACK_PRICE, holdFor, promptBound } from './billing.js';
import {
  answerHeaders,
  authenticate,
  cacheScope,
  checkedModel,
  keyIdOf,
  refusal,
  resolve,
  routeOf,
  type DoorDeps,
} from './inference-door.js';
import { relay } from './relay.js';
import { eligible, type Candidate } from './routing.js';

/** One request for an operation, on the way of an inference request: vectors are paid for by what was read, counting is
 *  free and leaves no row. */
export async function operate(context: HttpContext, route: OperationRoute, deps: DoorDeps): Promise<Response> {
  const leave = deps.gate.enter();
  try {
    return await operateInside(context, route, deps, leave);
  } catch (error) {
    leave();
    throw inOurWords(error, route);
  }
}

async function operateInside(
  context: HttpContext,
  route: OperationRoute,
  deps: DoorDeps,
  leave: () => void,
): Promise<Response> {
  const receivedAt = performance.now();
  const { ledger, registry, fleet, clock } = deps;
  const caller = authenticate(context, deps.accounts);
  const { darkbloom: _ours, ...body } = await readJson(context, MAX_REQUEST_BYTES);
  const model = checkedModel(body, caller);
  const mode = routeOf(context, caller, deps);
  const builds = resolve(model, mode, caller, deps);
  const lowered = checked(route, body);

  const jobId = randomUUID();
  const { account } = caller;
  const promptBytes = promptBound(lowered);
  const paid = route.op === 'embed';
  if (paid && mode !== 'self') {
    const price = registry.platformPrice(builds[0]?.id ?? '') ?? FALLBACK_PRICE;
    const amount = holdFor(promptBytes, 0, price);
    ledger.hold({ requestId: jobId, accountId: account.id, keyId: keyIdOf(caller), amount });
  }

  let served: { candidate: Candidate; at: number } | undefined;
  let result: OperationResult | undefined;
  const events = relay(
    {
      model,
      promptBytes,
      ownMachinesOnly: mode === 'self',
      candidates: () => eligible(fleet.machines, { account, mode, builds, now: clock.now() }),
      refusal: () => refusal(model, mode, caller, deps),
      bodyFor: ({ build, own, machine }) => ({
        ...lowered,
        model: build,
        darkbloom: { op: route.op, owner: own, cache_scope: cacheScope(account.id, machine.id) },
      }),
      serving: (candidate) => (served = { candidate, at: performance.now() }),
      result: (received) => (result = received),
      settle: ({ machine, build }, usage) => {
        if (!paid) return;
        const providerAccountId = machine.accountId ?? '';
        ledger.settle({
          requestId: jobId,
          accountId: account.id,
          keyId: keyIdOf(caller),
          alias: model,
          build,
          providerId: machine.id,
          providerAccountId,
          ...usage,
          price: registry.priceFor(build, providerAccountId),
          routeMode: mode,
        });
      },
      refund: (reason) => {
        if (paid) ledger.refund(jobId, reason);
      },
      ended: leave,
    },
    deps,
    context.req.raw.signal,
  );
  for await (const event of events) {
    if (event.type === 'cancelled') throw new DarkbloomError('cancelled', 'The client left before the answer came.');
  }
  if (result?.op !== route.op) throw new DarkbloomError('provider_error', 'The machine ended without a result.');
  for (const [name, value] of Object.entries(answerHeaders(jobId, served, receivedAt, fleet))) {
    context.header(name, value);
  }
  return context.json(route.reply(result, model, body));
}

/** The body that will be sealed, checked as the provider will check it.
 *  @throws DarkbloomError `invalid_request`. */
function checked(route: OperationRoute, body: JsonObject): JsonObject {
  const lowered = route.lower(body);
  parseOperation({ ...lowered, darkbloom: { op: route.op } });
  return lowered;
}

/** A machine that does not know the operation says so with a status of its own. */
function inOurWords(error: unknown, { what }: OperationRoute): DarkbloomError {
  const failure = toFailure(error);
  if (failure.code !== 'provider_error' || failure.status !== 501) return failure;
  return new DarkbloomError('unsupported', `The machine that serves this model cannot ${what}.`, { cause: failure });
}
