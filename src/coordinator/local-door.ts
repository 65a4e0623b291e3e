import type { Home, Settings } from '../config.js';
import type { Door } from '../http/door.js';
import type { Log } from '../log.js';
import type { CatalogModel } from '../models/catalog.js';
import type { InstalledModel } from '../models/store.js';
import { systemClock } from '../util/clock.js';
import { keptSecret } from '../util/files.js';
import { catalogModels, ownModels } from './catalog-models.js';
import { openCoordinator, ownerKey } from './host.js';

/** Until the embedded coordinator has challenged the provider beside it. */
const ROUTABLE_TIMEOUT_MS = 15_000;

interface LocalDoorOptions {
  home: Home;
  settings: Settings;
  catalog: readonly CatalogModel[];
  models: readonly InstalledModel[];
  /** The public key that the provider beside it will register. */
  publicKey: string;
  log: Log;
}

/** Local mode: the coordinator lives in this process and is reached over a real socket all the same.
 *  @throws DarkbloomError `port_in_use`, `config_invalid`. */
export async function openLocalDoor(options: LocalDoorOptions): Promise<Door> {
  const { home, settings, catalog, models, publicKey, log } = options;
  const now = systemClock.now();
  // One machine's coordinator lists what the machine has, not all that it could download.
  const installed = catalogModels(catalog, now).filter(({ build }) => models.some(({ id }) => id === build.id));
  const coordinator = await openCoordinator({
    home,
    settings,
    port: settings.http.port,
    models: [...installed, ...ownModels(models, catalog, settings.engine.context_tokens, now)],
    log,
  });
  const { accounts, owner } = coordinator;
  const linkToken = keptSecret(
    home.selfLinkToken,
    (token) => accounts.accountOfProviderToken(token)?.id === owner.id,
    () => accounts.mintProviderToken(owner.id, 'this machine'),
  );
  return {
    mode: 'local',
    url: coordinator.url,
    port: coordinator.port,
    key: ownerKey(home, coordinator),
    coordinatorUrl: coordinator.url,
    linkToken,
    ready: () => coordinator.untilRoutable(publicKey, AbortSignal.timeout(ROUTABLE_TIMEOUT_MS)),
    close: () => coordinator.close(),
  };
}
