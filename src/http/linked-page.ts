import { html } from 'hono/html';
import { DarkbloomError } from '../errors.js';
import type { HttpApp, HttpContext } from './app.js';
import { pageFile } from './page-files.js';
import { isOwnHost, PAGE_HEADERS } from './page-guard.js';

/** Linked mode: the console is the coordinator's; a browser that comes here is told where that is. Before the routes
 *  that other sites may read: whom this machine is linked to is not for them. */
export function addLinkedPage(app: HttpApp, coordinatorUrl: string, names: ReadonlySet<string>): void {
  app.get('/', async (context, next) => {
    if (context.req.header('accept')?.includes('text/html') !== true) return next();
    if (!isOwnHost(context.req.header('host'), names)) throw foreignName();
    return context.html(page(coordinatorUrl), 200, PAGE_HEADERS);
  });
  app.get('/pages/:file', (context) => stylesheetOrIcon(context));
}

async function stylesheetOrIcon(context: HttpContext): Promise<Response> {
  const file = context.req.param('file') ?? '';
  return file === 'pages.css' || file === 'icon.svg' ? pageFile(context, file) : context.notFound();
}

function foreignName(): DarkbloomError {
  return new DarkbloomError('forbidden', 'This page is not shown under this name. Open it as http://127.0.0.1:PORT.');
}

function page(coordinatorUrl: string) {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>Darkbloom provider</title>
        <link rel="icon" href="/pages/icon.svg" />
        <link rel="stylesheet" href="/pages/pages.css" />
      </head>
      <body>
        <main class="narrow">
          <p class="brand"><img src="/pages/icon.svg" alt="" width="22" height="22" />Darkbloom</p>
          <h1>This machine is linked</h1>
          <p>It serves the coordinator below. The console, with machines, keys and usage, is there:</p>
          <p class="address"><a href="${coordinatorUrl}">${coordinatorUrl}</a></p>
          <p>
            Programs on this machine can still use its models here, without the coordinator.
            <code>darkbloom-provider local</code> prints address and key.
          </p>
        </main>
      </body>
    </html>`;
}
