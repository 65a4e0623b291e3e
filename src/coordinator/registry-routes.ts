import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import type { HttpApp, HttpContext } from '../http/app.js';
import { MAX_SMALL_BODY_BYTES, readJson } from '../http/body.js';
import type { JsonObject } from '../inference/types.js';
import { parseBody } from '../inference/validation.js';
import type { Price } from './billing.js';
import { desire } from './desired-models.js';
import type { DoorDeps } from './inference-door.js';
import { loggedIn, ownerOnly } from './logins.js';
import {
  aliasAfter,
  AliasWish,
  buildOf,
  ModelChanges,
  ModelId,
  NewModel,
  PricedModel,
  PriceWish,
} from './model-input.js';
import { aliasEntry, catalogEntry } from './model-views.js';
import type { Build, Registry } from './registry.js';

type RegistryDeps = Pick<DoorDeps, 'accounts' | 'registry' | 'fleet' | 'clock'>;

/** The registry as its owner changes it: models, aliases, prices. Every change is told to the machines. */
export function addRegistryRoutes(app: HttpApp, deps: RegistryDeps): void {
  addModelAdministration(app, deps);
  addAliasAdministration(app, deps);
  addPrices(app, deps);
}

const AliasName = z.object({ alias: ModelId });

function body(context: HttpContext): Promise<JsonObject> {
  return readJson(context, MAX_SMALL_BODY_BYTES, 'bad_request');
}

function addModelAdministration(app: HttpApp, deps: RegistryDeps): void {
  const { accounts, registry, clock } = deps;
  app.get('/v1/admin/models', (context) => {
    ownerOnly(context, accounts);
    return context.json({
      models: registry
        .builds()
        .map((build) => ({ ...catalogEntry(build), ...priceView(registry.platformPrice(build.id)) })),
      aliases: registry.aliases().map((alias) => aliasEntry(alias, registry)),
    });
  });
  app.post('/v1/admin/models/register', async (context) => {
    ownerOnly(context, accounts);
    const wanted = parseBody(NewModel, await body(context), 'bad_request');
    if (!wanted.promote && registry.build(wanted.model_id)?.active === true) {
      throw new DarkbloomError(
        'conflict',
        `${wanted.model_id} is active. Say "promote": true to put this version in its place, or register it under a new id.`,
        { param: 'promote' },
      );
    }
    registry.putBuild(buildOf(wanted, clock.now()));
    const { input_price: input, output_price: output } = wanted;
    if (input !== undefined && output !== undefined) {
      registry.putPlatformPrice(wanted.model_id, { input: BigInt(input), output: BigInt(output) });
    }
    desire(deps);
    return context.json({ model: catalogEntry(knownBuild(wanted.model_id, registry)) });
  });
  app.patch('/v1/admin/models/:id{.+}', async (context) => {
    ownerOnly(context, accounts);
    const { active } = parseBody(ModelChanges, await body(context), 'bad_request');
    const { id } = knownBuild(context.req.param('id'), registry);
    registry.setActive(id, active);
    desire(deps);
    return context.json({ model: catalogEntry(knownBuild(id, registry)) });
  });
}

function addAliasAdministration(app: HttpApp, deps: RegistryDeps): void {
  const { accounts, registry } = deps;
  app.put('/v1/admin/aliases/:id{.+}', async (context) => {
    ownerOnly(context, accounts);
    const { alias: id } = parseBody(AliasName, { alias: context.req.param('id') }, 'bad_request');
    const wish = parseBody(AliasWish, await body(context), 'bad_request');
    for (const param of ['desired_build', 'previous_build'] as const) {
      const build = wish[param];
      if (build !== undefined && build !== null && registry.build(build) === undefined) {
        throw new DarkbloomError('bad_request', `'${param}': there is no build of that name. Register it first.`, {
          param,
        });
      }
    }
    const alias = aliasAfter(id, registry.alias(id), wish);
    registry.putAlias(alias);
    desire(deps);
    return context.json({ alias: aliasEntry(alias, registry) });
  });
  app.delete('/v1/admin/aliases/:id{.+}', (context) => {
    ownerOnly(context, accounts);
    if (!registry.removeAlias(context.req.param('id')))
      throw new DarkbloomError('not_found', 'There is no such alias.');
    desire(deps);
    return context.json({ status: 'removed' });
  });
}

function addPrices(app: HttpApp, { accounts, registry }: RegistryDeps): void {
  app.put('/v1/admin/pricing', async (context) => {
    ownerOnly(context, accounts);
    const { id, price } = priced(await body(context), registry);
    registry.putPlatformPrice(id, price);
    return context.json({ model: id, ...priceView(price) });
  });
  app.put('/v1/pricing', async (context) => {
    const account = loggedIn(context, accounts);
    const { id, price } = priced(await body(context), registry);
    registry.putOwnPrice(account.id, id, price);
    return context.json({ model: id, ...priceView(price) });
  });
  app.delete('/v1/pricing', async (context) => {
    const account = loggedIn(context, accounts);
    const { model } = parseBody(PricedModel, await body(context), 'bad_request');
    if (!registry.removeOwnPrice(account.id, model)) {
      throw new DarkbloomError('not_found', 'Your account has no price of its own for this model.', { param: 'model' });
    }
    return context.json({ status: 'deleted' });
  });
}

/** Prices belong to builds: what an alias costs is the price of the build behind it. */
function priced(input: JsonObject, registry: Registry): { id: string; price: Price } {
  const { model, input_price: ofInput, output_price: ofOutput } = parseBody(PriceWish, input, 'bad_request');
  return { id: knownBuild(model, registry).id, price: { input: BigInt(ofInput), output: BigInt(ofOutput) } };
}

/** @throws DarkbloomError `not_found`. */
function knownBuild(id: string, registry: Registry): Build {
  const build = registry.build(id);
  if (build !== undefined) return build;
  const alias = registry.alias(id);
  const hint = alias === undefined ? '' : ` It is an alias of ${alias.desiredBuild}.`;
  throw new DarkbloomError('not_found', `The registry has no build of that name.${hint}`, { param: 'model' });
}

function priceView(price: Price | undefined): JsonObject {
  return price === undefined ? {} : { input_price: Number(price.input), output_price: Number(price.output) };
}
