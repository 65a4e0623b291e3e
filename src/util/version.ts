import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's own folder: `assets/`, `models.json` and `package.json` lie there. */
export const PACKAGE_ROOT = packageRoot(new URL('.', import.meta.url));

/** The version of this package, as on the wire (`register.version`). */
export const VERSION = (JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as { version: string })
  .version;

/** The nearest folder upwards that has a package.json: `src/`, `dist/` and `dist-bench/` lie at different depths. */
function packageRoot(folder: URL): string {
  return existsSync(new URL('package.json', folder)) ? fileURLToPath(folder) : packageRoot(new URL('..', folder));
}
