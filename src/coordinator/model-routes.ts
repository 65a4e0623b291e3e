import { DarkbloomError } from '../errors.js';
import type { HttpApp } from '../http/app.js';
import type { JsonObject } from '../inference/types.js';
import { FALLBACK_PRICE, formatUsdPerMillion, formatUsdPerToken } from './billing.js';
import type { Caller } from './accounts.js';
import { readableFromAnySite } from './any-site.js';
import { authenticate, type DoorDeps } from './inference-door.js';
import {
  aliasEntry,
  catalogEntry,
  concreteFacts,
  describedFacts,
  featuresOf,
  manifestOf,
  priceRow,
  outputOf,
  samplingOf,
} from './model-views.js';
import type { Build, Registry } from './registry.js';
import { isWarm, type Machine } from './machine.js';
import { eligible } from './routing.js';
import { namedMachines, routeOf } from './self-route.js';

/** `/v1/models`, the provider-facing catalogue, and prices. */
export function addModelRoutes(app: HttpApp, deps: DoorDeps): void {
  app.get('/v1/models', (context) => {
    const caller = authenticate(context, deps.accounts);
    const { account } = caller;
    const mode = routeOf(context, caller, deps);
    const named = namedMachines(context, {}, { mode, account }, deps);
    const own = deps.fleet.machines.filter(
      ({ accountId, machineId }) => accountId === account.id && named?.has(machineId ?? '') !== false,
    );
    const header = context.req.header('x-darkbloom-route');
    const onlyOwn = mode === 'self' && (header !== undefined || (caller.via === 'key' && caller.key.selfRouteOnly));
    const allowed = caller.via === 'key' ? caller.key.allowedModels : [];
    const withBuilds = context.req.query('include_builds') === '1';
    const all = onlyOwn
      ? ownEntries(own, caller, deps)
      : [...publicEntries(caller, deps, withBuilds), ...offCatalog(own, deps)];
    const data = all.filter(({ id }) => allowed.length === 0 || allowed.includes(id));
    return context.json({
      object: 'list',
      data,
      has_more: false,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
    });
  });

  readableFromAnySite(app, '/v1/models/catalog');
  app.get('/v1/models/catalog', (context) => {
    const type = context.req.query('type');
    if (type !== undefined && type !== 'text') {
      throw new DarkbloomError('invalid_request', "'type' must be text.", { param: 'type' });
    }
    const withAliases = ['1', 'true'].includes(context.req.query('include_aliases') ?? '');
    const models = deps.registry.builds().filter(({ active }) => active);
    return context.json({
      models: models.map(catalogEntry),
      ...(withAliases ? { aliases: usableAliases(deps.registry) } : {}),
    });
  });

  readableFromAnySite(app, '/v1/models/catalog/*');
  app.get('/v1/models/catalog/manifest/:id{.+}', (context) => {
    return context.json(manifestOf(catalogBuild(context.req.param('id'), deps)));
  });
  app.get('/v1/models/catalog/:id{.+}', (context) => {
    return context.json(catalogEntry(catalogBuild(context.req.param('id'), deps)));
  });

  readableFromAnySite(app, '/v1/pricing');
  app.get('/v1/pricing', (context) => {
    const { registry } = deps;
    const ofBuilds = registry.builds().flatMap(({ id }) => priceRow(id, registry.platformPrice(id)));
    const ofAliases = registry
      .aliases()
      .flatMap(({ id }) => (registry.resolve(id)?.builds ?? []).slice(0, 1).map((build) => ({ id, build })))
      .flatMap(({ id, build }) => priceRow(id, registry.platformPrice(build.id)));
    return context.json({
      prices: [...ofAliases, ...ofBuilds],
      fallback_input_price: Number(FALLBACK_PRICE.input),
      fallback_output_price: Number(FALLBACK_PRICE.output),
      fallback_input_usd: formatUsdPerMillion(FALLBACK_PRICE.input),
      fallback_output_usd: formatUsdPerMillion(FALLBACK_PRICE.output),
    });
  });

  // Last: an id may hold slashes, and the literal routes above win over it.
  app.get('/v1/models/:id{.+}', (context) => {
    const caller = authenticate(context, deps.accounts);
    const id = context.req.param('id');
    const own = deps.fleet.machines.filter(({ accountId }) => accountId === caller.account.id);
    const hidden = deps.registry.build(id);
    const found =
      [...publicEntries(caller, deps, false), ...offCatalog(own, deps)].find((entry) => entry.id === id) ??
      (hidden === undefined ? undefined : entryOf(id, hidden, caller, deps));
    if (found === undefined)
      throw new DarkbloomError('model_not_found', `There is no model '${id}'.`, { param: 'model' });
    return context.json(found);
  });
}

type Entry = JsonObject & { id: string };

/** Aliases, online or not; then builds that some public machine serves and no alias covers. */
function publicEntries(caller: Caller, deps: DoorDeps, withBuilds: boolean): Entry[] {
  const { registry, fleet } = deps;
  const aliases = registry.aliases().flatMap((alias) => {
    const build = registry.resolve(alias.id)?.builds[0];
    return build === undefined ? [] : [entryOf(alias.id, build, caller, deps, alias.displayName)];
  });
  const hidden = withBuilds ? new Set<string>() : registry.hiddenBuilds();
  const open = fleet.machines.filter(({ privateOnly }) => !privateOnly);
  const builds = registry
    .builds()
    .filter(({ id, active }) => active && !hidden.has(id) && open.some(({ models }) => models.has(id)));
  return [...aliases, ...builds.map((build) => entryOf(build.id, build, caller, deps))];
}

/** What the caller's own machines serve outside the catalogue. */
function offCatalog(own: readonly Machine[], { registry }: DoorDeps): Entry[] {
  const ids = new Set(own.flatMap(({ models }) => [...models.keys()]));
  return [...ids].filter((id) => registry.build(id) === undefined).map((id) => bareEntry(id));
}

/** What a self-routed request of the caller can name. */
function ownEntries(own: readonly Machine[], caller: Caller, deps: DoorDeps): Entry[] {
  const served = new Set(own.flatMap(({ models }) => [...models.keys()]));
  const aliases = deps.registry.aliases().flatMap((alias) => {
    const build = deps.registry.resolve(alias.id)?.builds.find(({ id }) => served.has(id));
    return build === undefined
      ? []
      : [{ ...entryOf(alias.id, build, caller, deps, alias.displayName), owned_by: 'self' }];
  });
  return [...aliases, ...offCatalog(own, deps)];
}

function bareEntry(id: string): Entry {
  return {
    id,
    object: 'model',
    created: 0,
    owned_by: 'self',
    type: 'model',
    display_name: id,
    created_at: new Date(0).toISOString(),
  };
}

/** `caller` sees the machines that would serve it, no others. */
function entryOf(
  id: string,
  build: Build,
  { account }: Caller,
  { registry, fleet, clock }: DoorDeps,
  displayName = build.displayName,
): Entry {
  const concrete = id === build.id;
  const price = registry.platformPrice(build.id) ?? FALLBACK_PRICE;
  const builds = registry.resolve(id)?.builds ?? [build];
  const machines = eligible(fleet.machines, { account, mode: 'prefer', builds, now: clock.now() });
  return {
    id,
    object: 'model',
    created: Math.floor(build.createdAt / 1_000),
    owned_by: 'darkbloom',
    type: 'model',
    display_name: displayName,
    created_at: new Date(build.createdAt).toISOString(),
    name: displayName,
    input_modalities: ['text'],
    output_modalities: [outputOf(build)],
    context_length: build.contextLength,
    max_output_length: build.maxOutputLength,
    pricing: {
      prompt: formatUsdPerToken(price.input),
      completion: formatUsdPerToken(price.output),
      image: '0',
      request: '0',
      input_cache_read: '0',
    },
    supported_sampling_parameters: samplingOf(build),
    supported_features: featuresOf(build),
    ...describedFacts(build),
    ...(concrete ? concreteFacts(build) : {}),
    metadata: {
      model_type: outputOf(build),
      quantization: concrete ? build.quantization : '',
      provider_count: concrete ? machines.length : 0,
      attested_providers: 0, // nothing that this coordinator sees proves what hardware runs
      trust_level: '',
      display_name: displayName,
      routable_providers: machines.length,
      warm_providers: machines.filter(({ machine, build: id }) => isWarm(machine, id)).length,
      can_accept: machines.some(({ free }) => free),
    },
  };
}

/** An alias of which nothing can be had is no help to a provider. */
function usableAliases(registry: Registry): JsonObject[] {
  return registry
    .aliases()
    .filter(({ id }) => (registry.resolve(id)?.builds.length ?? 0) > 0)
    .map((alias) => aliasEntry(alias, registry));
}

/** @throws DarkbloomError `not_found`. */
function catalogBuild(id: string, { registry }: DoorDeps): Build {
  const build = registry.build(id);
  if (build?.active === true) return build;
  throw new DarkbloomError('not_found', `The catalogue has no build '${id}'.`, { param: 'model' });
}
