import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { PACKAGE_ROOT } from '../util/version.js';
import type { HttpContext } from './app.js';
import { PAGE_HEADERS } from './page-guard.js';

/** Written by hand; what `tsc -p tsconfig.pages.json` makes of `pages/*.ts`; and the one library that it imports. */
const HAND_WRITTEN = join(PACKAGE_ROOT, 'pages');
const COMPILED = join(PACKAGE_ROOT, 'dist/pages');
const LIBRARY = join(dirname(createRequire(import.meta.url).resolve('preact')), 'preact.module.js');

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** A file of the pages.
 *  @throws DarkbloomError `no_route` for a name that is none. */
export async function pageFile(context: HttpContext, name: string): Promise<Response> {
  const [, extension = ''] = /^[a-z-]+\.(html|css|js|svg)$/u.exec(name) ?? [];
  const type = TYPES[extension];
  if (type === undefined) throw noSuchFile(name);
  const folder = extension === 'js' ? COMPILED : HAND_WRITTEN;
  try {
    const text = await readFile(name === 'preact.js' ? LIBRARY : join(folder, name), 'utf8');
    return context.body(text, 200, { ...PAGE_HEADERS, 'Content-Type': type });
  } catch (error) {
    throw systemErrorCode(error) === 'ENOENT' ? noSuchFile(name) : error;
  }
}

function noSuchFile(name: string): DarkbloomError {
  return new DarkbloomError('no_route', `There is no file '${name.slice(0, 100)}' among the pages.`);
}
