import { once } from 'node:events';
import { createServer } from 'node:net';
import { portOf } from './port-of.js';

/** A port that nobody listens on at this moment, for what must find the same one again. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}
