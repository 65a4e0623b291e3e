import { cors } from 'hono/cors';
import { DarkbloomError } from '../errors.js';
import type { HttpApp } from '../http/app.js';
import type { JsonObject } from '../inference/types.js';
import { FALLBACK_PRICE, formatUsdPerMillion, formatUsdPerToken, type Price } from './billing.js';
import type { Caller } from './accounts.js';
import { authenticate, routeOf, type DoorDeps } from './inference-door.js';
import type { Alias, Build } from './registry.js';
import { eligible, hasRoom, type Machine } from './routing.js';

const SAMPLING_PARAMETERS = [
  'temperature',
  'top_p',
  'top_k',
  'frequency_penalty',
  'presence_penalty',
  'repetition_penalty',
  'stop',
  'seed',
  'max_tokens',
];
const GIGABYTE = 1e9;

/** `/v1/models`, the provider-facing catalogue, and prices. */
export function addModelRoutes(app: HttpApp, deps: DoorDeps): void {
  app.get('/v1/models', (context) => {
    const caller = authenticate(context, deps.accounts);
    const own = deps.fleet.machines.filter(({ accountId }) => accountId === caller.account.id);
    const header = context.req.header('x-darkbloom-route');
    const onlyOwn =
      routeOf(context, caller, deps) === 'self' &&
      (header !== undefined || (caller.via === 'key' && caller.key.selfRouteOnly));
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

  app.use('/v1/models/catalog', cors({ origin: '*' }));
  app.get('/v1/models/catalog', (context) => {
    const type = context.req.query('type');
    if (type !== undefined && type !== 'text') {
      throw new DarkbloomError('invalid_request', "'type' must be text.", { param: 'type' });
    }
    const withAliases = ['1', 'true'].includes(context.req.query('include_aliases') ?? '');
    const models = deps.registry.builds().filter(({ active }) => active);
    return context.json({
      models: models.map(catalogEntry),
      ...(withAliases ? { aliases: deps.registry.aliases().map(aliasEntry) } : {}),
    });
  });

  app.use('/v1/models/catalog/*', cors({ origin: '*' }));
  app.get('/v1/models/catalog/manifest/:id{.+}', (context) => {
    return context.json(manifestOf(catalogBuild(context.req.param('id'), deps)));
  });
  app.get('/v1/models/catalog/:id{.+}', (context) => {
    return context.json(catalogEntry(catalogBuild(context.req.param('id'), deps)));
  });

  app.use('/v1/pricing', cors({ origin: '*' }));
  app.get('/v1/pricing', (context) => {
    const { registry } = deps;
    const ofBuilds = registry.builds().flatMap(({ id }) => priceRow(id, registry.platformPrice(id)));
    const ofAliases = registry
      .aliases()
      .flatMap(({ id, desiredBuild }) => priceRow(id, registry.platformPrice(desiredBuild)));
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
  const price = registry.platformPrice(build.id) ?? FALLBACK_PRICE;
  const machines = eligible(fleet.machines, { account, mode: 'prefer', builds: [build], now: clock.now() });
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
    supported_features: [],
    metadata: {
      model_type: outputOf(build),
      quantization: build.quantization,
      display_name: displayName,
      routable_providers: machines.length,
      can_accept: machines.some(hasRoom),
    },
  };
}

function catalogEntry(build: Build): JsonObject {
  return {
    id: build.id,
    s3_name: build.id,
    display_name: build.displayName,
    model_type: outputOf(build),
    size_gb: build.sizeBytes / GIGABYTE,
    architecture: build.architecture,
    description: '',
    min_ram_gb: build.minRamGb,
    active: build.active,
    ...(build.weightHash === undefined ? {} : { weight_hash: build.weightHash, aggregate_sha256: build.weightHash }),
    family: build.family,
    quantization: build.quantization,
    max_context_length: build.contextLength,
    max_output_length: build.maxOutputLength,
    capabilities: build.capabilities,
    runtime_parameters: {},
    metadata: {},
    status: build.active ? 'active' : 'inactive',
    name: build.displayName,
    hugging_face_id: '',
    input_modalities: ['text'],
    output_modalities: [outputOf(build)],
    supported_features: [],
    supported_sampling_parameters: samplingOf(build),
    created: Math.floor(build.createdAt / 1_000),
    version: 'v1',
    total_size_bytes: build.sizeBytes,
    file_count: build.files.length,
    format: 'gguf',
    files: build.files.map(({ path, sizeBytes, sha256 }) => ({ path, size_bytes: sizeBytes, sha256 })),
    source: build.source,
  };
}

/** What comes out of a model. */
function outputOf({ capabilities }: Build): 'text' | 'embedding' {
  return capabilities.includes('embeddings') ? 'embedding' : 'text';
}

function samplingOf(build: Build): readonly string[] {
  return outputOf(build) === 'text' ? SAMPLING_PARAMETERS : [];
}

/** @throws DarkbloomError `not_found`. */
function catalogBuild(id: string, { registry }: DoorDeps): Build {
  const build = registry.build(id);
  if (build?.active === true) return build;
  throw new DarkbloomError('not_found', `The catalogue has no build '${id}'.`, { param: 'model' });
}

function manifestOf(build: Build): JsonObject {
  return {
    schema_version: 1,
    model_id: build.id,
    version: 'v1',
    ...(build.weightHash === undefined ? {} : { aggregate_sha256: build.weightHash }),
    total_size_bytes: build.sizeBytes,
    file_count: build.files.length,
    files: build.files.map(({ path, sizeBytes, sha256 }) => ({ path, size_bytes: sizeBytes, sha256, role: 'weight' })),
    created_at: new Date(build.createdAt).toISOString(),
  };
}

function aliasEntry({ id, displayName, desiredBuild, previousBuild, retiredBuilds }: Alias): JsonObject {
  return {
    id,
    display_name: displayName,
    desired_build: desiredBuild,
    ...(previousBuild === undefined ? {} : { previous_build: previousBuild }),
    retired_builds: retiredBuilds,
    primary_build: desiredBuild,
  };
}

function priceRow(model: string, price: Price | undefined): JsonObject[] {
  if (price === undefined) return [];
  return [
    {
      model,
      input_price: Number(price.input),
      output_price: Number(price.output),
      input_usd: formatUsdPerMillion(price.input),
      output_usd: formatUsdPerMillion(price.output),
    },
  ];
}
