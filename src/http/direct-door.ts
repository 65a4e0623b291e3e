import { randomBytes } from 'node:crypto';
import type { Home, Settings } from '../config.js';
import { DarkbloomError } from '../errors.js';
import type { Engine } from '../inference/operations.js';
import type { Log } from '../log.js';
import { systemClock } from '../util/clock.js';
import { keptSecret } from '../util/files.js';
import { VERSION } from '../util/version.js';
import { createDirectApi } from './direct-api.js';
import type { Door } from './door.js';
import { listen } from './server.js';
import { tlsOf } from './tls.js';

interface DirectDoorOptions {
  home: Home;
  settings: Settings;
  coordinatorUrl: string;
  /** What the link shows there; `undefined`: this machine was not linked to it. */
  linkToken: string | undefined;
  generator: Engine;
  models: () => readonly { alias: string }[];
  /** Throws what refuses a new request now. */
  refuse: () => void;
  log: Log;
}

/** Linked mode: the coordinator is elsewhere; the port carries the direct endpoint.
 *  @throws DarkbloomError `not_logged_in`, `port_in_use`. */
export async function openDirectDoor(options: DirectDoorOptions): Promise<Door> {
  const { home, settings, coordinatorUrl, linkToken, generator, models, refuse, log } = options;
  if (linkToken === undefined) {
    throw new DarkbloomError(
      'not_logged_in',
      `This machine is not linked to ${coordinatorUrl}. Run \`darkbloom-provider link ${coordinatorUrl}\`.`,
    );
  }
  const key = keptSecret(
    home.localToken,
    () => true,
    () => `dk-local-${randomBytes(32).toString('base64url')}`,
  );
  const now = () => systemClock.now();
  const app = createDirectApi({
    generator,
    models,
    token: key,
    coordinatorUrl,
    host: settings.http.host,
    refuse,
    version: VERSION,
    now,
    log,
  });
  const server = await listen(app, { ...settings.http, ...tlsOf(settings) });
  return {
    mode: 'linked',
    url: server.url,
    port: server.port,
    key,
    coordinatorUrl,
    linkToken,
    ready: () => Promise.resolve(), // the other side may be away for hours; local requests are served meanwhile
    close: () => server.close(),
  };
}
