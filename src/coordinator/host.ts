import type { Home, Settings } from '../config.js';
import type { Log } from '../log.js';
import { systemClock } from '../util/clock.js';
import { keptSecret, readFileIfPresent } from '../util/files.js';
import { VERSION } from '../util/version.js';
import type { KnownModel } from './catalog-models.js';
import { tlsOf } from '../http/tls.js';
import { Coordinator } from './coordinator.js';
import { identityProviderOf } from './identity-provider.js';

interface CoordinatorPlace {
  home: Home;
  settings: Settings;
  port: number;
  models: readonly KnownModel[];
  log: Log;
}

/** The coordinator of a home, with its owner's token in place.
 *  @throws DarkbloomError `port_in_use`, `config_invalid`. */
export async function openCoordinator({ home, settings, port, models, log }: CoordinatorPlace): Promise<Coordinator> {
  const coordinator = await Coordinator.start({
    database: home.database,
    host: settings.http.host,
    port,
    selfRouteDefault: settings.coordinator.self_route_default,
    feePercent: settings.coordinator.fee_percent,
    accountRates: {
      requestsPerMinute: settings.coordinator.account_requests_per_minute,
      inputTokensPerMinute: settings.coordinator.account_input_tokens_per_minute,
      outputTokensPerMinute: settings.coordinator.account_output_tokens_per_minute,
    },
    ...tlsOf(settings),
    version: VERSION,
    models,
    identity: identityProviderOf(settings.identity, { clock: systemClock, log }),
    readOwnerKey: () => readFileIfPresent(home.ownerKey)?.trim(),
    clock: systemClock,
    log,
  });
  const { accounts, owner } = coordinator;
  keptSecret(
    home.ownerToken,
    (token) => {
      const caller = accounts.authenticate(token);
      return caller?.via === 'login' && caller.account.id === owner.id;
    },
    () => accounts.renewLoginToken(owner.id), // who takes the file away makes its token worthless
  );
  return coordinator;
}

/** The owner's own API key, kept from run to run. */
export function ownerKey(home: Home, { accounts, owner }: Coordinator): string {
  return keptSecret(
    home.ownerKey,
    (key) => accounts.authenticate(key)?.account.id === owner.id,
    () => accounts.keys.create(owner.id, { name: 'this machine' }).secret,
  );
}
