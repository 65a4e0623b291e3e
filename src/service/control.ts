import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { createApp } from '../http/app.js';
import type { Log } from '../log.js';
import type { BlockedStatus, Status } from './status.js';

interface ControlOptions {
  /** The socket file; only its owner may open it. */
  path: string;
  status: () => Status | BlockedStatus;
  pause: () => Promise<void>;
  resume: () => Promise<void>;
  /** Asks the daemon to drain and stop; answers before it does. */
  stop: () => void;
  log: Log;
}

/** The daemon's end of the control socket: `status`, `pause`, `resume`, `stop` of the command line end up here. */
export async function openControl(options: ControlOptions): Promise<{ close: () => Promise<void> }> {
  const app = createApp(options.log);
  app.get('/status', (context) => context.json(options.status()));
  app.post('/pause', async (context) => {
    await options.pause();
    return context.json(options.status());
  });
  app.post('/resume', async (context) => {
    await options.resume();
    return context.json(options.status());
  });
  app.post('/stop', (context) => {
    options.stop();
    return context.json(options.status());
  });
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer((request, response) => void listener(request, response));
  rmSync(options.path, { force: true }); // of a daemon that was killed; a second living one was refused before
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.path, resolve);
  });
  chmodSync(options.path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
