import { onTestFinished } from 'vitest';
import type { HttpApp } from '../../src/http/app.js';
import { listen } from '../../src/http/server.js';

/** Asks an app over a real connection. The port is let go at the end of the test. */
export async function overAPort(app: HttpApp, path: string, init?: RequestInit): Promise<Response> {
  const server = await listen(app, { host: '127.0.0.1', port: 0 });
  onTestFinished(() => server.close());
  return fetch(`${server.url}${path}`, init);
}
