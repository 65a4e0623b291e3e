import { cors } from 'hono/cors';
import type { HttpApp } from '../http/app.js';

const readable = cors({ origin: '*', allowMethods: ['GET'] });

/** What lies at this path is public: any web page may read it. */
export function readableFromAnySite(app: HttpApp, path: string): void {
  app.on(['GET', 'OPTIONS'], path, readable);
}
