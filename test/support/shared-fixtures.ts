import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../src/util/version.js';

/** Recordings that lie beside a working copy of this project and are read in place; a clone alone has none. */
const SHARED = join(PACKAGE_ROOT, '../shared/fixtures');

export const hasSharedFixtures = existsSync(SHARED);

/** A JSON file of the recordings; tests give it its shape with a schema. */
export function sharedFixture(path: string): unknown {
  return readJson(join(SHARED, path));
}

/** A JSON file of test/fixtures. */
export function ownFixture(path: string): unknown {
  return readJson(join(PACKAGE_ROOT, 'test/fixtures', path));
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}
