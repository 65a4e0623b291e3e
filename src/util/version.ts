import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The package's own folder: `assets/`, `models.json` and `package.json` lie there. */
export const PACKAGE_ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The version of this package, as on the wire (`register.version`). */
export const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
