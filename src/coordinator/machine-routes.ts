import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import type { HttpApp, HttpContext } from '../http/app.js';
import { MAX_SMALL_BODY_BYTES, readJson } from '../http/body.js';
import type { JsonObject } from '../inference/types.js';
import { parseBody } from '../inference/validation.js';
import type { LinkedMachine } from './accounts.js';
import type { Fleet } from './fleet.js';
import type { DoorDeps } from './inference-door.js';
import { loggedIn } from './logins.js';
import { ModelId } from './model-input.js';
import type { Order, OrderKind } from './orders.js';
import type { ProviderSession } from './provider-session.js';
import type { Registry } from './registry.js';

type MachineDeps = Pick<DoorDeps, 'accounts' | 'fleet' | 'registry'>;

const WantedModel = z.strictObject({ model: ModelId });

/** The machines of an account: which are linked, which of them are here, what they are asked to do, and the end of a
 *  link. */
export function addMachineRoutes(app: HttpApp, deps: MachineDeps): void {
  const { accounts, fleet, registry } = deps;
  app.get('/v1/me/machines', (context) => {
    const account = loggedIn(context, accounts);
    const data = accounts.machines(account.id).map((machine) => machineView(machine, fleet));
    return context.json({ object: 'list', data });
  });
  app.delete('/v1/me/machines/:id', (context) => {
    const account = loggedIn(context, accounts);
    const id = context.req.param('id');
    if (!accounts.revokeMachine(account.id, id)) throw noSuchMachine();
    fleet.expel(id, 'the link of this machine was revoked');
    return context.json({ status: 'revoked' });
  });

  const order = async (context: HttpContext, kind: OrderKind) => {
    const account = loggedIn(context, accounts);
    const id = context.req.param('id') ?? '';
    const { model } = parseBody(
      WantedModel,
      await readJson(context, MAX_SMALL_BODY_BYTES, 'bad_request'),
      'bad_request',
    );
    if (!accounts.machines(account.id).some((machine) => machine.id === id)) throw noSuchMachine();
    const session = fleet.connectionOf(id);
    if (session === undefined) {
      throw new DarkbloomError('machine_offline', 'This machine is not connected now.', { retryAfterS: 30 });
    }
    const build = kind === 'load_model' ? announced(model, session, registry) : downloadable(model, registry);
    session.order(kind, build);
    return context.json({ status: 'sent', model: build }, 202);
  };
  app.post('/v1/me/machines/:id/load', (context) => order(context, 'load_model'));
  app.post('/v1/me/machines/:id/prefetch', (context) => order(context, 'prefetch_model'));
}

/** The build of that name, or of that alias, that the machine has.
 *  @throws DarkbloomError `model_not_found`. */
function announced(name: string, { machine }: ProviderSession, registry: Registry): string {
  const names = registry.resolve(name)?.builds.map(({ id }) => id) ?? [name];
  const build = names.find((id) => machine.models.has(id));
  if (build !== undefined) return build;
  throw new DarkbloomError('model_not_found', 'This machine does not have the model. Order it to fetch it first.', {
    param: 'model',
  });
}

/** The active build of that name, or the desired one of that alias.
 *  @throws DarkbloomError `model_not_found`. */
function downloadable(name: string, registry: Registry): string {
  const build = registry.resolve(name)?.builds[0];
  if (build !== undefined) return build.id;
  throw new DarkbloomError('model_not_found', 'The registry has no active model of that name.', { param: 'model' });
}

function machineView({ id, label, linkedAt }: LinkedMachine, fleet: Fleet): JsonObject {
  const session = fleet.connectionOf(id);
  return {
    id,
    label,
    linked_at: new Date(linkedAt).toISOString(),
    connected: session !== undefined,
    ...(session === undefined ? {} : connectedView(session)),
  };
}

function connectedView({ register, machine, orders }: ProviderSession): JsonObject {
  const { hardware, version } = register;
  return {
    chip: hardware.chip_name,
    model: hardware.machine_model,
    ...(version === undefined ? {} : { version }),
    builds: [...machine.models.keys()],
    orders: orders.map(orderView),
  };
}

function orderView({ kind, build, status, done, total, error, at }: Order): JsonObject {
  return {
    order: kind,
    model: build,
    status,
    ...(done === undefined ? {} : { bytes_done: done }),
    ...(total === undefined ? {} : { bytes_total: total }),
    ...(error === undefined ? {} : { error }),
    given_at: new Date(at).toISOString(),
  };
}

function noSuchMachine(): DarkbloomError {
  return new DarkbloomError('not_found', 'There is no machine with this id in your account.');
}
